from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from emulator.console import live_messages
from emulator.console.live_messages import LiveMessages
from emulator.console.message_events import MOST_SHOWN_BYTES
from emulator.console.pubsub_calls import PubSubCalls
from tests.conftest import CloudAddresses
from tests.emulator.console.conftest import Bus, Caller, Start

Eventually = Callable[..., Any]


@pytest.fixture
def subscriptions(caller: Caller, local_cloud: CloudAddresses) -> Callable[[], list[str]]:
    """The names of all subscriptions of the caller's project."""

    def names() -> list[str]:
        with closing(PubSubCalls(local_cloud.pubsub, caller.project)) as calls:
            return [str(each.name) for each in calls.subscriptions()]

    return names


def test_a_message_arrives_when_it_is_published(caller: Caller, bus: Bus) -> None:
    bus.create("work")
    events = caller.follow("work")
    assert events.answer.headers["Content-Type"] == "text/event-stream"
    bus.publish("work", b'{"n": 12345678901234567890}', agent="light")
    name, message = events.next()
    assert name == "message"
    assert message["data"] == '{"n": 12345678901234567890}'
    assert message["format"] == "json"
    assert message["attributes"] == {"agent": "light"}
    assert message["size"] == 27
    assert message["messageId"]
    assert message["publishTime"].endswith("Z")


@pytest.mark.parametrize(
    ("data", "shape", "shown"),
    [
        ("text äö\nline\r\n\r\nevent: x".encode(), "text", "text äö\nline\r\n\r\nevent: x"),
        (b"", "text", ""),
        (b"\xff\x00\x01", "base64", base64.b64encode(b"\xff\x00\x01").decode()),
        (b"a\x00b", "base64", base64.b64encode(b"a\x00b").decode()),
        (b"[NaN]", "text", "[NaN]"),
        (b"[" * 5000, "text", "[" * 5000),
        (b"x" * (MOST_SHOWN_BYTES + 1), "text", "x" * MOST_SHOWN_BYTES),
        (b"\xff" * (MOST_SHOWN_BYTES + 1), "base64", base64.b64encode(b"\xff" * MOST_SHOWN_BYTES).decode()),
        ("€".encode() * MOST_SHOWN_BYTES, "text", "€" * (MOST_SHOWN_BYTES // 3)),
    ],
    ids=["text", "empty", "binary", "zero", "nan", "deep", "long", "long-binary", "cut-character"],
)
def test_data_is_shown_as_what_it_is(caller: Caller, bus: Bus, data: bytes, shape: str, shown: str) -> None:
    bus.create("work")
    events = caller.follow("work")
    bus.publish("work", data, kind="one")
    _, message = events.next()
    assert (message["format"], message["data"], message["size"]) == (shape, shown, len(data))


def test_the_other_subscriptions_notice_nothing(caller: Caller, bus: Bus, eventually: Eventually) -> None:
    bus.create("work", "other")
    events = caller.follow("work")
    bus.publish("work", b"1", b"2")
    assert {events.next()[1]["data"], events.next()[1]["data"]} == {"1", "2"}
    assert eventually(lambda: bus.pulled("other"))
    topics = caller.get("/_local/topics").json["topics"]
    assert [each["id"] for each in topics[0]["subscriptions"]] == ["other"]


def test_two_readers_both_get_everything(caller: Caller, bus: Bus) -> None:
    bus.create("work")
    readers = [caller.follow("work"), caller.follow(f"projects/{caller.project}/topics/work")]
    bus.publish("work", b"for both")
    assert [reader.next()[1]["data"] for reader in readers] == ["for both", "for both"]


def test_a_reader_that_leaves_leaves_nothing_behind(
    caller: Caller, bus: Bus, subscriptions: Callable[[], list[str]], eventually: Eventually
) -> None:
    bus.create("work")
    events = caller.follow("work")
    assert len(subscriptions()) == 1
    events.leave()
    assert eventually(lambda: not subscriptions())


def test_a_console_that_stops_ends_its_streams(
    caller: Caller, bus: Bus, subscriptions: Callable[[], list[str]]
) -> None:
    bus.create("work")
    events = caller.follow("work")
    caller.console.close()
    with pytest.raises(StopIteration):
        events.next()
    assert subscriptions() == []


def test_what_a_killed_console_left_is_deleted_by_the_next(
    caller: Caller, bus: Bus, local_cloud: CloudAddresses, subscriptions: Callable[[], list[str]]
) -> None:
    bus.create("work", "kept")
    with closing(PubSubCalls(local_cloud.pubsub, caller.project)) as calls:
        calls.subscribe("work", "forgotten")
    assert len(subscriptions()) == 2
    caller.get("/_local/topics")
    assert subscriptions() == [f"projects/{caller.project}/subscriptions/kept"]


def test_an_unknown_topic_is_refused(caller: Caller, bus: Bus, subscriptions: Callable[[], list[str]]) -> None:
    assert caller.get("/_local/messages?topic=none").status == 404
    assert subscriptions() == []


def test_a_topic_must_be_named(caller: Caller) -> None:
    refused = caller.get("/_local/messages")
    assert refused.status == 400
    assert "topic=NAME" in refused.error


def test_there_is_an_end_to_the_readers(
    caller: Caller, bus: Bus, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(live_messages, "MOST_READERS", 2)
    bus.create("work")
    first, _ = caller.follow("work"), caller.follow("work")
    refused = caller.get("/_local/messages?topic=work")
    assert refused.status == 503
    assert "close one" in refused.error
    first.leave()
    assert eventually(lambda: caller.follow("work").answer.status == 200)


def test_a_quiet_stream_shows_that_it_lives(caller: Caller, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_messages, "_HEARTBEAT_SECONDS", 0.1)
    bus.create("work")
    events = caller.follow("work")
    assert events.answer.readline() == b": still here\n"


def test_a_reader_that_is_too_slow_is_let_go(
    caller: Caller,
    bus: Bus,
    local_cloud: CloudAddresses,
    monkeypatch: pytest.MonkeyPatch,
    subscriptions: Callable[[], list[str]],
    eventually: Eventually,
) -> None:
    monkeypatch.setattr(live_messages, "MOST_WAITING", 3)
    bus.create("work")
    with closing(PubSubCalls(local_cloud.pubsub, caller.project)) as calls:
        live = LiveMessages(calls)
        feed = live.follow("work")
        bus.publish("work", *(b"%d" % number for number in range(10)))
        assert eventually(lambda: not subscriptions())
        name, data = (line.partition(": ")[2] for line in next(feed).decode().strip().split("\n")[-2:])
        assert name == "problem"
        assert "follow again" in json.loads(data)["message"]
        with pytest.raises(StopIteration):
            next(feed)
        live.close()


def test_many_readers_that_come_and_go_leave_no_threads(
    caller: Caller, bus: Bus, subscriptions: Callable[[], list[str]], eventually: Eventually
) -> None:
    bus.create("work")
    before = threading.active_count()
    for _ in range(5):
        caller.follow("work").leave()
    assert eventually(lambda: not subscriptions())
    assert eventually(lambda: threading.active_count() <= before + 2)


def test_a_pubsub_that_does_not_answer_is_told(start: Start) -> None:
    refused = start(pubsub="127.0.0.1:9").get("/_local/messages?topic=work")
    assert refused.status == 503


def test_a_console_that_stopped_says_so_to_who_is_still_connected(caller: Caller) -> None:
    with closing(http.client.HTTPConnection(caller.address, timeout=5)) as connection:
        connection.request("GET", "/_local/stack")
        assert connection.getresponse().read()
        caller.console.close()
        connection.request("GET", "/_local/topics")
        answer = connection.getresponse()
        assert answer.status == 503
        assert b"the stack stops" in answer.read()
