"""The relay from outside: publishing, and streams that are read in a thread of the test's own."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

from tests.contract.mesh import Answer, Mesh, eventually

RELAY: Final = "relay"
OTHER: Final = "relay_b"


@dataclass
class Event:
    """One event of a stream."""

    kind: str
    data: Any
    event_id: str


@dataclass
class Reader:
    """Reads a stream of Server-Sent Events until it is closed; has what came so far."""

    connection: HTTPConnection
    response: HTTPResponse
    events: list[Event] = field(default_factory=list)
    last_event_id: str = ""
    caught_up: bool = False
    ended: bool = False
    thread: threading.Thread | None = None

    @property
    def numbers(self) -> list[int]:
        """The `n` of each payload."""
        return [event.data["payload"]["n"] for event in self.events if event.kind == "message"]

    def wait_for(self, count: int) -> list[Event]:
        """Wait for so many events."""
        eventually(lambda: len(self.events) >= count)
        return self.events

    def wait_for_the_end(self) -> None:
        """Wait until nothing more will come."""
        eventually(lambda: self.ended)

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        eventually(lambda: self.caught_up or self.ended)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut the connection, as a client that dies does."""
        if self.connection.sock:
            self.connection.sock.shutdown(2)
        if self.thread:
            self.thread.join(10)
        self.connection.close()

    def _read(self) -> None:
        kind, data, event_id = "message", "", self.last_event_id
        try:
            while line := self.response.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    event_id = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    data += value
                elif not name and line != b"\n":
                    self.caught_up = True
                elif line == b"\n":
                    self.last_event_id = event_id
                    if data:
                        self.events.append(Event(kind, json.loads(data), event_id))
                    kind, data = "message", ""
        except (OSError, HTTPException, AttributeError):  # http.client, when its socket is closed under it
            pass
        self.ended = True


@dataclass
class Relay:
    """Two instances; the first one is asked unless the other is named."""

    mesh: Mesh

    def publish(
        self, topic: str, payload: object, *, role: str = RELAY, email: str = "", key: str | None = None
    ) -> Answer:
        """Publish."""
        body = {"topic": topic, "payload": payload} | ({"idempotency_key": key} if key else {})
        return self.mesh.post("/publish", body, role=role, email=email)

    def published(self, topic: str, n: int, *, role: str = RELAY) -> str:
        """Publish a number; return the event's id."""
        answer = self.publish(topic, {"n": n}, role=role)
        assert answer.status == 200, answer.body
        return str(answer.json["event_id"])

    def read(self, *topics: str, role: str = RELAY, email: str = "", last: str = "") -> Reader:
        """Open a stream."""
        reader = self.open("/subscribe", {"topic": topics}, role=role, email=email, last=last)
        assert reader.response.status == 200, reader.response.read()
        assert reader.response.headers["Content-Type"] == "text/event-stream"
        return reader

    def open(
        self, path: str, query: dict[str, Any], *, role: str = RELAY, email: str | None = "", last: str = ""
    ) -> Reader:
        """Open a stream, whatever comes of it; without a token where `email` is None."""
        address = urlsplit(self.mesh.stack.url(role))
        connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
        headers = {"Last-Event-ID": last} if last else {}
        if email is not None:
            headers["Authorization"] = self.mesh.bearer(role, email or self.mesh.developer)
        connection.request("GET", f"{path}?{urlencode(query, doseq=True)}", headers=headers)
        return Reader(connection, connection.getresponse(), last_event_id=last)

    def get(self, path: str, *, role: str = RELAY, email: str = "") -> Answer:
        """GET JSON."""
        return self.mesh.raw("GET", path, None, role=role, email=email)

    @property
    def other_caller(self) -> str:
        """A caller who is no operator."""
        return f"{OTHER.replace('_', '-')}@{self.mesh.stack.project}.iam.gserviceaccount.com"
