"""The dashboard's page behind a server that tests can stop, sign out, tamper with and script.

It answers as the dashboard's function does: the same files, its Content-Security-Policy, the relay's stream format.
Receipts are real ones.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from agent_mesh.contracts.values import JsonObject, to_json
from agent_mesh.dashboard._headers import PAGE_POLICY
from agent_mesh.ledger.keys import encode_base64
from agent_mesh.platform.clock import moment, rfc3339
from agent_mesh.relay.messages import Message, number_at
from agent_mesh.relay.sse import block
from tests.browser.small_ledger import SmallLedger

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
}
_STATIC: Final = resources.files("agent_mesh.dashboard").joinpath("static")
_STREAM_ENDS: Final = None
Answer = dict[str, Any]


def untouched(answer: Answer) -> Answer:
    """Return the answer as it is."""
    return answer


@dataclass
class PageServer:
    """What is behind the page. Attributes may be changed while it runs."""

    ledger: SmallLedger = field(default_factory=SmallLedger)
    answers: dict[str, Answer] = field(default_factory=dict)
    """What `/api/tx/{id}` has beside the ledger's records: task, timeline, run."""
    explanations: dict[str, Answer] = field(default_factory=dict)
    signed_in: bool = True
    allowed: bool = True
    stream_status: int = 200
    history: list[tuple[int, Message]] = field(default_factory=list)
    tamper: Callable[[Answer], Answer] = field(default_factory=lambda: untouched)
    """What is done to every answer of `/api/tx/{id}`."""
    last_event_ids: list[str] = field(default_factory=list)
    page_size: int = 50
    port: int = 0

    def __post_init__(self) -> None:
        self._streams: list[queue.SimpleQueue[str | None]] = []
        self._lock = threading.Lock()
        self._http: ThreadingHTTPServer | None = None
        self._sockets: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def listening(self) -> bool:
        return self._http is not None

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def start(self) -> None:
        """Listen; after `stop` on the same port as before."""
        handler = type("Handler", (_Handler,), {"behind": self})
        self._http = _Server(("127.0.0.1", self.port), handler)
        self._http.opened = self._sockets
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Close the door and every open connection."""
        assert self._http
        self._http.shutdown()
        self.cut_streams()
        for each in list(self._sockets):
            with suppress(OSError):  # it may just have gone by itself
                each.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
        self._http = None

    def publish(self, topic: str, payload: JsonObject, *, ts: float | None = None) -> None:
        """Send a message to all streams, and keep it for those that come back."""
        with self._lock:
            number = max(number_at(ts or time.time()), self.history[-1][1].number + 1 if self.history else 0)
            message = Message(topic, number, 0, to_json(payload))
            self.history.append((len(self.history) + 1, message))
            self._send(_delivery(*self.history[-1]))

    def event(self, kind: str, subject: str, data: JsonObject, *, at: float | None = None, keep: bool = True) -> None:
        """Let an event happen: it is told live, and stands in the ledger."""
        at = at or time.time()
        event: JsonObject = {
            "specversion": "1.0",
            "id": f"ev-{len(self.history)}",
            "source": "/orchestrator",
            "type": kind,
            "subject": subject,
            "time": rfc3339(moment(at)),
            "data": data,
        }
        if keep:
            recorded: JsonObject = {name: event[name] for name in ("source", "time", "data")}
            actor = str(data.get("caller") or data.get("actor") or "/orchestrator")
            self.ledger.append(subject, kind, actor, rfc3339(moment(at)), recorded)
        self.publish(kind, event, ts=at)

    def send_raw(self, text: str) -> None:
        """Send a block of the stream as it is."""
        with self._lock:
            self._send(text)

    def cut_streams(self) -> None:
        """End all open streams."""
        with self._lock:
            self._send(_STREAM_ENDS)

    def follow(self, position: str) -> Iterator[str]:
        """Yield the blocks of one stream, first what was missed."""
        inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with self._lock:
            self.last_event_ids.append(position)
            missed = [_delivery(*each) for each in self.history if each[0] > int(position or 0)]
            self._streams.append(inbox)
        try:
            yield block(retry_ms=1000)
            yield from missed
            while (text := inbox.get()) is not _STREAM_ENDS:
                yield text
        finally:
            self._streams.remove(inbox)

    def transaction(self, tx_id: str, from_index: int) -> Answer | None:
        """Return what is known of an id: its records from an index on, one page of them."""
        records, more = self.ledger.records(tx_id), self.answers.get(tx_id, {})
        if not records and not more:
            return None
        following = [each for each in records if each["index"] >= from_index]
        page, rest = following[: self.page_size], following[self.page_size :]
        next_index = rest[0]["index"] if rest else None
        empty = {"tx_id": tx_id, "records": page, "next_index": next_index, "task": None, "run": None, "dead": None}
        return self.tamper(deepcopy(empty | more))

    def _send(self, text: str | None) -> None:
        for inbox in self._streams:
            inbox.put(text)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    opened: set[socket.socket]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    behind: PageServer

    def setup(self) -> None:
        super().setup()
        self.server.opened.add(self.connection)  # type: ignore[attr-defined]

    def finish(self) -> None:
        self.server.opened.discard(self.connection)  # type: ignore[attr-defined]
        super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Say nothing."""

    @cached_property
    def _static(self) -> bytes:
        return _STATIC.joinpath("index.html").read_bytes()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = parts.path, parse_qs(parts.query)
        if path == "/" or path.startswith("/tx/"):
            self._reply(200, self._static, _TYPES["html"])
        elif path.startswith("/static/"):
            self._file(path.removeprefix("/static/"))
        elif path == "/auth/login":
            self._reply(200, b"<!doctype html><title>Issuer</title><h1>The issuer</h1>", _TYPES["html"])
        elif path.startswith("/api/"):
            self._api(path, query)
        else:
            self._problem(404, "not_found", "There is nothing here.")

    def _file(self, name: str) -> None:
        file = _STATIC.joinpath(name)
        if "/" in name or not file.is_file():
            self._problem(404, "not_found", "The page has no such file.")
        else:
            self._reply(200, file.read_bytes(), _TYPES[name.rpartition(".")[2]])

    def _api(self, path: str, query: dict[str, list[str]]) -> None:
        if not self.behind.signed_in:
            self._problem(401, "unauthenticated", "Sign in first.")
        elif not self.behind.allowed:
            self._problem(403, "forbidden", "You are stranger@example.com, who may not see this mesh.")
        elif path == "/api/stream":
            self._stream()
        elif path.startswith("/api/tx/"):
            self._story(unquote(path.removeprefix("/api/tx/")), int(query.get("from_index", ["0"])[0]))
        else:
            self._others(path, query)

    def _others(self, path: str, query: dict[str, list[str]]) -> None:
        ledger = self.behind.ledger
        if path == "/api/session":
            topics = ["mesh.**", "access.intent"]
            until = time.time() + 3600
            email = "developer@example.com"
            self._json({"email": email, "signed_in_until": until, "groups": ["operators"], "topics": topics})
        elif path == "/api/ledger/key":
            self._reply(200, f"{ledger.key}\n".encode(), "text/plain; charset=utf-8")
        elif path == "/api/ledger/proof/consistency":
            proof = ledger.consistency(int(query["from"][0]), int(query["to"][0]))
            self._json({"proof": [encode_base64(each) for each in proof]})
        else:
            self._problem(404, "not_found", "There is nothing here.")

    def _story(self, tx_id: str, from_index: int) -> None:
        if tx_id.endswith("/explanation"):
            found = self.behind.explanations.get(tx_id.removesuffix("/explanation"))
        else:
            found = self.behind.transaction(tx_id, from_index)
        if found is None:
            self._problem(404, "not_found", f"There is no transaction or task {tx_id}.")
        else:
            self._json(found)

    def _stream(self) -> None:
        if self.behind.stream_status != 200:
            self._problem(self.behind.stream_status, "unavailable", "The relay is being replaced.")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for text in self.behind.follow(self.headers.get("Last-Event-ID", "")):
            self.wfile.write(text.encode())
            self.wfile.flush()

    def _json(self, value: object) -> None:
        self._reply(200, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def _problem(self, status: int, code: str, detail: str) -> None:
        problem = {"type": f"urn:agent-mesh:problem:{code}", "title": code, "status": status, "detail": detail}
        self._reply(status, json.dumps(problem | {"code": code}).encode(), "application/problem+json")

    def _reply(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", PAGE_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def _delivery(cursor: int, message: Message) -> str:
    return block(data=message.data, event_id=str(cursor))
