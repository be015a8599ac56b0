"""A loopback HTTP/1.1 server around one pure function from request to reply."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

LOOPBACK: Final = "127.0.0.1"
_LARGEST_BODY: Final = 64 * 1024
_LOCAL_HOSTS: Final = frozenset({LOOPBACK, "localhost", "metadata.google.internal"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler may look at. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; ``Content-Length`` is added when it is sent."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Reply]


def json_reply(value: object, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Reply:
    """A JSON answer. Underscores in header keywords become dashes."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), "application/json", named)


def text_reply(text: str, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    """A plain text answer."""
    return Reply(status, text.encode())


class LoopbackServer:
    """Serves one handler on 127.0.0.1 from background threads until :meth:`close`."""

    def __init__(self, handler: Handler, port: int = 0) -> None:
        """Listen at once; port 0 takes a free one. Raises OSError if the port is taken."""
        self._server = _Server((LOOPBACK, port), _connection_class(handler))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    def close(self) -> None:
        """Stop listening; open connections end with their next request."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        """Return itself; it listens since it was made."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


def _connection_class(handler: Handler) -> type[BaseHTTPRequestHandler]:
    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # unbuffered writes cost 44 ms a call with keep-alive (delayed ACK)
        disable_nagle_algorithm = True

        def log_message(self, *_arguments: object) -> None:
            """Stay silent; callers log what they need."""

        def _answer(self) -> None:
            reply = _reply_to(handler, self)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            for name, text in reply.headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = _answer
        do_POST = _answer

    return Connection


def _reply_to(handler: Handler, connection: BaseHTTPRequestHandler) -> Reply:
    headers = {name.lower(): text for name, text in connection.headers.items()}
    if headers.get("host", LOOPBACK).rpartition(":")[0] not in _LOCAL_HOSTS | {""}:
        return text_reply("only for callers on this machine", HTTPStatus.FORBIDDEN)
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _LARGEST_BODY:
        connection.close_connection = True
        return text_reply(f"body over {_LARGEST_BODY} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = connection.rfile.read(int(length)).decode("utf-8", "replace")
    target = urlsplit(connection.path)
    query = dict(parse_qsl(target.query))
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        query |= dict(parse_qsl(body))
    return handler(Request(connection.command, target.path, query, headers))
