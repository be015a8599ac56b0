from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emulator.console.server import Console
from emulator.console.sources import Sources
from emulator.delivery.messages import Message
from emulator.pubsub_wire import PubSubWire
from tests.conftest import CloudAddresses

Start = Callable[..., "Caller"]


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of a refusal, which must repeat the status."""
        error = self.json["error"]
        assert error["status"] == self.status
        return str(error["message"])


@dataclass
class Caller:
    """Whoever calls a console."""

    console: Console
    project: str
    open_streams: list[Events] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.console.url.removeprefix("http://")

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: object, **headers: str) -> Answer:
        return self.ask("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"} | headers)

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        with closing(http.client.HTTPConnection(self.address, timeout=10)) as connection:
            named = {name.replace("_", "-"): text for name, text in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())

    def leave(self) -> None:
        for events in self.open_streams:
            events.leave()

    def follow(self, topic: str) -> Events:
        events = Events(http.client.HTTPConnection(self.address, timeout=10), f"/_local/messages?topic={topic}")
        self.open_streams.append(events)
        return events


class Events:
    """A stream of Server-Sent Events, read as a browser would."""

    def __init__(self, connection: http.client.HTTPConnection, path: str) -> None:
        self._connection = connection
        connection.request("GET", path)
        self.answer = connection.getresponse()

    def next(self) -> tuple[str, Any]:
        """The next event's name and data; raises StopIteration at the end of the stream."""
        name, data = "", ""
        while line := self.answer.readline().decode():
            key, _, text = line.rstrip("\n").partition(": ")
            if key == "event":
                name = text
            elif key == "data":
                data = text
            elif not key and name:
                return name, json.loads(data)
        raise StopIteration

    def leave(self) -> None:
        self.answer.close()
        self._connection.close()


@pytest.fixture
def start(local_cloud: CloudAddresses, tmp_path: Path) -> Iterator[Start]:
    """Start consoles of an empty project; what is given replaces a source."""
    with ExitStack() as stack:

        def console(**sources: Any) -> Caller:
            given = {
                "project": f"test-{secrets.token_hex(6)}",
                "cloud": "embedded",
                "firestore": local_cloud.firestore,
                "pubsub": local_cloud.pubsub,
                "logs": tmp_path,
                **sources,
            }
            caller = Caller(stack.enter_context(Console(Sources(**given))), given["project"])
            stack.callback(caller.leave)
            return caller

        yield console


@pytest.fixture
def caller(start: Start) -> Caller:
    """A console without any extras."""
    return start()


@dataclass
class Bus:
    """Topics, subscriptions and messages of a caller's project."""

    wire: PubSubWire
    project: str

    def create(self, topic: str, *subscriptions: str) -> None:
        self.wire.create_topic(f"projects/{self.project}/topics/{topic}")
        for name in subscriptions:
            full = f"projects/{self.project}/subscriptions/{name}"
            self.wire.create_subscription(full, f"projects/{self.project}/topics/{topic}", ordering=False)

    def publish(self, topic: str, *data: bytes, **attributes: str) -> None:
        messages = [Message("", each, "", attributes, "") for each in data]
        self.wire.publish(f"projects/{self.project}/topics/{topic}", messages)

    def pulled(self, subscription: str) -> list[bytes]:
        leases = self.wire.pull(f"projects/{self.project}/subscriptions/{subscription}", 10)
        return [lease.message.data for lease in leases]


@pytest.fixture
def bus(caller: Caller, local_cloud: CloudAddresses) -> Iterator[Bus]:
    with closing(PubSubWire(local_cloud.pubsub)) as wire:
        yield Bus(wire, caller.project)
