"""What is published reaches every stream, on every instance, once and in order."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from emulator.pubsub_wire import PubSubWire
from tests.contract.mesh import eventually, unique
from tests.contract.relay.reader import OTHER, RELAY, Relay


def test_a_stream_begins_with_the_history_and_goes_on_live(relay: Relay) -> None:
    topic = unique("t")
    first = relay.published(topic, 1)
    with relay.read(topic) as reader:
        second = relay.published(topic, 2)
        events = reader.wait_for(2)
    assert reader.numbers == [1, 2]
    assert [event.event_id for event in events] == [event.data["id"] for event in events] == [first, second]
    assert events[0].data.keys() == {"id", "ts", "topic", "payload"}
    assert events[0].data["topic"] == topic
    assert isinstance(events[0].data["ts"], float)


def test_what_one_instance_publishes_the_other_streams(relay: Relay) -> None:
    topic = unique("t")
    with relay.read(topic, role=OTHER) as there, relay.read(topic) as here:
        for number in range(20):
            relay.published(topic, number, role=(RELAY, OTHER)[number % 2])
        there.wait_for(20)
        here.wait_for(20)
    assert here.numbers == there.numbers == list(range(20))


def test_a_stream_resumes_on_the_other_instance_exactly_where_it_was(relay: Relay) -> None:
    topic = unique("t")
    with relay.read(topic) as reader:
        relay.published(topic, 1)
        reader.wait_for(1)
    relay.published(topic, 2)
    with relay.read(topic, role=OTHER, last=reader.last_event_id) as again:
        relay.published(topic, 3)
        again.wait_for(2)
    assert again.numbers == [2, 3]


def test_last_event_id_may_stand_in_the_query(relay: Relay) -> None:
    topic = unique("t")
    first = relay.published(topic, 1)
    relay.published(topic, 2)
    with relay.open("/subscribe", {"topic": topic, "last_event_id": first}) as reader:
        reader.wait_for(1)
    assert reader.numbers == [2]


def test_a_pattern_has_topics_that_appear_later(relay: Relay) -> None:
    word = unique("w")
    relay.published(f"{word}.old", 1)
    with relay.read(f"{word}.*", role=OTHER) as reader:
        relay.published(f"{word}.new", 2)
        relay.published(f"{word}.new.deeper", 3)
        relay.published(f"{word}.old", 4)
        reader.wait_for(3)
    assert reader.numbers == [1, 2, 4]


def test_presence_counts_the_streams_of_all_instances_until_they_are_closed(relay: Relay) -> None:
    topic = unique("t")

    def counted() -> tuple[int, int]:
        found = relay.get(f"/presence?topic={topic}").json
        return found["count"], found["instances"]

    with relay.read(topic, "**"), relay.read(topic, role=OTHER):
        eventually(lambda: counted() == (2, 2))
    eventually(lambda: counted() == (0, 0))


def test_asking_for_the_head_of_a_stream_opens_none(relay: Relay) -> None:
    topic = unique("t")
    answer = relay.mesh.raw("HEAD", f"/subscribe?topic={topic}", None, role=RELAY)
    assert (answer.status, answer.body) == (200, b"")
    assert relay.get(f"/presence?topic={topic}").json["count"] == 0


def test_a_client_of_http_1_0_has_the_stream_without_chunks(relay: Relay) -> None:
    topic = unique("t")
    relay.published(topic, 1)
    address = urlsplit(relay.mesh.stack.url(RELAY))
    head = f"GET /subscribe?topic={topic} HTTP/1.0\r\nAuthorization: {relay.mesh.bearer(RELAY, relay.mesh.developer)}"
    with socket.create_connection((address.hostname or "", address.port or 0), 20) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        received = b""
        while b'"n":1' not in received:
            received += connection.recv(65_536)
        relay.published(topic, 2)
        while b'"n":2' not in received:
            received += connection.recv(65_536)
    body = received.partition(b"\r\n\r\n")[2]
    assert body.startswith(b"retry: 1000\n\n")
    assert b"\r" not in body


def test_an_instance_that_stops_says_so_and_leaves_no_subscription(relay: Relay) -> None:
    topic = unique("t")
    wire = PubSubWire(relay.mesh.stack.pubsub)

    def live() -> set[str]:
        found = wire.subscriptions(relay.mesh.stack.project)
        return {each.name for each in found if "/relay-live-" in each.name}

    before = live()
    with relay.read(topic, role=OTHER) as reader:
        during = live()
        relay.mesh.stack.restart(OTHER)
        eventually(lambda: reader.ended)
    assert during
    assert live() < before | during
    wire.close()
    assert [event.data for event in reader.events if event.kind == "end"] == [{"reason": "shutdown"}]


def test_an_instance_that_is_killed_is_forgotten_and_its_streams_resume(relay: Relay) -> None:
    topic = unique("t")
    with relay.read(topic, role=OTHER) as reader:
        relay.published(topic, 1)
        reader.wait_for(1)
        relay.mesh.stack.kill(OTHER)
        eventually(lambda: reader.ended)
    relay.published(topic, 2)
    relay.mesh.stack.start(OTHER)
    with relay.read(topic, role=OTHER, last=reader.last_event_id) as again:
        relay.published(topic, 3)
        again.wait_for(2)
    assert again.numbers == [2, 3]
