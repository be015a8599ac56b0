from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.pubsub_v1.types import PubsubMessage

from emulator.console.server import Console
from emulator.console.sources import Sources
from tests.conftest import CloudAddresses
from tests.emulator.pubsub.conftest import SIZES, Place

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

    place: Place

    def create(self, topic: str, *subscriptions: str) -> None:
        full = self.place.topic(name=self.place.name("topics", topic))
        for name in subscriptions:
            wanted = {"name": self.place.name("subscriptions", name), "topic": full}
            self.place.subscriber.create_subscription(request=wanted)

    def publish(self, topic: str, *data: bytes, **attributes: str) -> None:
        messages = [PubsubMessage(data=each, attributes=attributes) for each in data]
        self.place.publisher.publish(topic=self.place.name("topics", topic), messages=messages)

    def pulled(self, subscription: str) -> list[str]:
        return self.place.texts(self.place.name("subscriptions", subscription))


@pytest.fixture
def bus(caller: Caller, local_cloud: CloudAddresses) -> Iterator[Bus]:
    with grpc.insecure_channel(local_cloud.pubsub, options=SIZES) as channel:
        yield Bus(Place(channel, f"projects/{caller.project}"))
