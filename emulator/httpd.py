"""A loopback HTTP/1.1 server around one pure function from request to reply."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Final, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

LOOPBACK: Final = "127.0.0.1"
_LARGEST_BODY: Final = 64 * 1024
_STUCK_SECONDS: Final = 10.0
_LOCAL_HOSTS: Final = frozenset({LOOPBACK, "localhost", "metadata.google.internal"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler may look at. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


class Pieces(Protocol):
    """What a streamed answer is made of; it is closed when it ends, the reader goes away or reads too slowly."""

    def __next__(self) -> bytes:
        """The next piece; an empty one is no news, and a moment to see whether the reader is still there."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: whole, with ``Content-Length``, or streamed until its ``pieces`` end."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Pieces | None = None


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

    def __init__(self, handler: Handler, port: int = 0, largest_body: int = _LARGEST_BODY) -> None:
        """Listen at once; port 0 takes a free one. Raises OSError if the port is taken."""
        self._server = _Server(port, handler, largest_body)
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

    def __init__(self, port: int, handler: Handler, largest_body: int) -> None:
        self.handler = handler
        self.largest_body = largest_body
        super().__init__((LOOPBACK, port), _Connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that leaves before its answer is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # unbuffered writes cost 44 ms a call with keep-alive (delayed ACK)
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_arguments: object) -> None:
        """Stay silent; callers log what they need."""

    def _answer(self) -> None:
        reply = _reply_to(self.server.handler, self, self.server.largest_body)
        if reply.pieces is not None:
            with closing(reply.pieces) as pieces:
                self._stream(reply, pieces)
            return
        self._send_head(reply, "Content-Length", str(len(reply.body)))
        self.wfile.write(reply.body)

    def _stream(self, reply: Reply, pieces: Pieces) -> None:
        self.close_connection = True
        self.connection.settimeout(_STUCK_SECONDS)
        try:
            self._send_head(reply, "Connection", "close")
            piece = reply.body
            while not _reader_left(self.connection):
                self.wfile.write(piece)
                self.wfile.flush()
                piece = next(pieces)
        except StopIteration:
            return
        except OSError:  # the reader left, or takes nothing any more: what is still buffered has nobody to go to
            self.wfile = BytesIO()

    def _send_head(self, reply: Reply, last_name: str, last_text: str) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header(last_name, last_text)
        for name, text in reply.headers.items():
            self.send_header(name, text)
        self.end_headers()

    do_GET = _answer
    do_POST = _answer


def _reader_left(connection: socket.socket) -> bool:
    watch = select.poll()
    watch.register(connection, select.POLLIN)
    return bool(watch.poll(0)) and connection.recv(1, socket.MSG_PEEK) == b""


def _reply_to(handler: Handler, connection: BaseHTTPRequestHandler, largest_body: int) -> Reply:
    headers = {name.lower(): text for name, text in connection.headers.items()}
    if headers.get("host", LOOPBACK).partition(":")[0] not in _LOCAL_HOSTS:
        return text_reply("only for callers on this machine", HTTPStatus.FORBIDDEN)
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > largest_body:
        connection.close_connection = True
        return text_reply(f"body over {largest_body} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = connection.rfile.read(int(length))
    target = urlsplit(connection.path)
    query = dict(parse_qsl(target.query))
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        query |= dict(parse_qsl(body.decode("utf-8", "replace")))
    return handler(Request(connection.command, target.path, query, headers, body))
