"""`ledger witness`: a witness for ledgers of others, over HTTP, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from pydantic import BaseModel
from typing_extensions import override

from agent_mesh.cli._command import add_command
from agent_mesh.cli._input import wrong
from agent_mesh.cli._ledger_keys import given_key
from agent_mesh.cli._session import Session
from agent_mesh.ledger.errors import MalformedKey
from agent_mesh.ledger.keys import KeyKind
from agent_mesh.ledger.signers import open_key_file, verifier_key
from agent_mesh.ledger.submissions import MAX_SUBMISSION_BYTES

if TYPE_CHECKING:  # it needs fcntl, which Windows does not have
    from agent_mesh.ledger.witness import WitnessAnswer

_PATIENCE_S: Final = 10.0


class Serving(BaseModel):
    """Where the witness is, and its key."""

    url: str
    key: str
    ledgers: list[str]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "witness", witness, addressed=False)


def witness(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The witness's name: a URL without its scheme.")],
    *,
    ledger: Annotated[list[str], typer.Option(metavar="KEY", help="Key of a ledger that is witnessed, or its file.")],
    folder: Annotated[str, typer.Option(help="Where the witness keeps its key and what it has seen. Never lose it.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; put TLS in front of another than this.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
) -> None:
    """Cosign checkpoints of ledgers that only ever grow, until Ctrl-C.

    The witness speaks C2SP's tlog-witness at /add-checkpoint. Give its
    URL and its key to the ledger's operator for LEDGER_WITNESSES.
    """
    from agent_mesh.ledger.witness import Witness, WitnessFolder

    logs = [given_key(each, "--ledger") for each in ledger]
    try:
        kept = WitnessFolder(Path(folder))
        signer = open_key_file(Path(folder) / "witness.key", name)
        key = verifier_key(signer, KeyKind.COSIGNATURE)
        server = _Server((host, port), Witness(signer, logs, kept, time.time).add_checkpoint)
    except (MalformedKey, OSError) as error:
        raise wrong("NAME, --folder or --port", str(error)) from error
    answer = Serving(url=f"http://{host}:{server.server_port}", key=str(key), ledgers=[str(each) for each in logs])
    session.answer(answer, f"witness   {answer.url}", f"key       {answer.key}")
    sys.stdout.flush()  # whoever reads it through a pipe waits for the address
    try:
        server.serve_forever(0.1)
    except KeyboardInterrupt:
        session.say("The witness has stopped.")
    finally:
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], add_checkpoint: Callable[[bytes], WitnessAnswer]) -> None:
        super().__init__(address, _Handler)
        self.add_checkpoint = add_checkpoint


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = _PATIENCE_S
    server: _Server

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/add-checkpoint":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif not length.isdecimal() or int(length) > MAX_SUBMISSION_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            answer = self.server.add_checkpoint(self.rfile.read(int(length)))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was cosigned is in the folder."""
