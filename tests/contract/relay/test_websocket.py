"""The same stream over WebSocket, read by another implementation of the protocol."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from simple_websocket import Client, ConnectionClosed  # type: ignore[import-untyped]

from tests.contract.mesh import eventually, unique
from tests.contract.relay.reader import OTHER, RELAY, Relay


@contextmanager
def connected(relay: Relay, *topics: str, role: str = RELAY, **query: str) -> Iterator[Client]:
    """Connect as the developer, unless the query has a ticket."""
    url = relay.mesh.stack.url(role).replace("http", "ws")
    headers = {} if "ticket" in query else {"Authorization": relay.mesh.bearer(role, relay.mesh.developer)}
    client = Client.connect(f"{url}/ws?{urlencode({'topic': topics, **query}, doseq=True)}", headers=headers)
    try:
        yield client
    finally:
        if client.connected:
            client.close()


def received(client: Client, count: int) -> list[dict[str, Any]]:
    """Return the next messages that are events."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < deadline
        text = client.receive(timeout=20)
        event = json.loads(text)
        if event["event"] != "id":
            found.append(event)
    return found


def test_a_websocket_has_the_history_what_comes_and_resumes(relay: Relay) -> None:
    topic = unique("t")
    relay.published(topic, 1)
    with connected(relay, topic) as client:
        relay.published(topic, 2, role=OTHER)
        first, second = received(client, 2)
    assert [each["data"]["payload"]["n"] for each in (first, second)] == [1, 2]
    assert first["event"] == "message"
    assert first["data"].keys() == {"id", "ts", "topic", "payload"}
    with connected(relay, topic, last_event_id=first["id"], role=OTHER) as again:
        assert received(again, 1) == [second]


def test_a_ticket_opens_a_websocket_once(relay: Relay) -> None:
    topic = unique("t")
    relay.published(topic, 1)
    ticket = relay.mesh.post("/tickets", {"topics": [topic]}, role=RELAY).json["ticket"]
    with connected(relay, topic, ticket=ticket) as client:
        assert len(received(client, 1)) == 1
    again = handshake(relay, f"/ws?{urlencode({'topic': topic, 'ticket': ticket})}", without="Authorization")
    assert again.split()[1] == b"401"


def test_a_client_that_closes_is_forgotten_at_once(relay: Relay) -> None:
    topic = unique("t")
    with connected(relay, topic):
        eventually(lambda: relay.get(f"/presence?topic={topic}").json["count"] == 1)
    eventually(lambda: relay.get(f"/presence?topic={topic}").json["count"] == 0, 5)


def test_a_pong_is_not_answered_with_another_ping(relay: Relay) -> None:
    topic = unique("t")
    relay.published(topic, 1)
    with connected(relay, topic) as client:
        received(client, 1)
        until, frames = time.monotonic() + 0.5, list[str]()
        while (left := until - time.monotonic()) > 0:
            frames += [text for text in [client.receive(timeout=left)] if text is not None]
    assert len(frames) < 5, frames


def test_a_client_that_sends_a_message_is_told_that_nobody_listens(relay: Relay) -> None:
    with connected(relay, unique("t")) as client:
        client.send("hello")
        eventually(lambda: not client.connected)
        with pytest.raises(ConnectionClosed) as closed:
            client.send("is anybody there?")
    assert closed.value.reason == 1003


def handshake(relay: Relay, target: str, *, without: str = "") -> bytes:
    """Return how the answer to a handshake that lacks a header begins."""
    address = urlsplit(relay.mesh.stack.url(RELAY))
    headers = {
        "Host": address.netloc,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Authorization": relay.mesh.bearer(RELAY, relay.mesh.developer),
    }
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items() if name != without)]
    with socket.create_connection((address.hostname or "", address.port or 0), 20) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection.recv(4096)


@pytest.mark.parametrize(
    ("without", "status"),
    [("", 101), ("Sec-WebSocket-Key", 400), ("Sec-WebSocket-Version", 400), ("Upgrade", 426), ("Authorization", 401)],
)
def test_a_handshake_is_complete_or_refused(relay: Relay, without: str, status: int) -> None:
    assert handshake(relay, "/ws?topic=a", without=without).split()[1] == str(status).encode()


@pytest.mark.parametrize(("path", "status"), [("/docs", 400), ("/nowhere", 404), ("/", 404)])
def test_a_handshake_anywhere_else_is_refused_as_a_problem(relay: Relay, path: str, status: int) -> None:
    answer = handshake(relay, path)
    assert answer.split()[1] == str(status).encode()
    assert b"application/problem+json" in answer
