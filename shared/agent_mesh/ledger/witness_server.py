"""A witness over HTTP, for one that has no web server of its own. TLS is for what stands in front of it."""

from __future__ import annotations

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from typing_extensions import override

from agent_mesh.ledger.submissions import MAX_SUBMISSION_BYTES
from agent_mesh.ledger.witness import Witness

_PATIENCE_S: Final = 10.0


class WitnessServer(ThreadingHTTPServer):
    """Answers `POST /add-checkpoint`."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        """Listen at (host, port); a port of 0 is any that is free.

        Raises:
            OSError: the address cannot be had.
        """
        super().__init__(address, _Handler)
        self.witness = witness


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = _PATIENCE_S
    server: WitnessServer

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/add-checkpoint":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif not length.isdecimal() or int(length) > MAX_SUBMISSION_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            answer = self.server.witness.add_checkpoint(self.rfile.read(int(length)))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was cosigned is in the folder."""
