"""A callback receiver on loopback: answers as a test says and remembers what it was sent."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request. Header names are lower case."""

    method: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.time)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Listens while it is entered."""

    def __init__(self) -> None:
        receiver = self
        self._lock = threading.Lock()
        self._answers: dict[str, list[int]] = {}
        self._received: dict[str, list[Received]] = defaultdict(list)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.take(self)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def host(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, path: str, *answers: int) -> str:
        """Return the URL of a path that gives these answers in turn, and 204 from then on."""
        with self._lock:
            self._answers[path] = list(answers)
        return f"http://{self.host}{path}"

    def received(self, path: str) -> list[Received]:
        """Return what came for a path, oldest first."""
        with self._lock:
            return list(self._received[path])

    def take(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            self._received[request.path].append(Received(str(request.command), headers, body))
            left = self._answers.get(request.path)
            status = left.pop(0) if left else 204
        request.send_response(status)
        if status == 302:
            request.send_header("Location", f"http://{self.host}{request.path}/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
