"""The fan-out of one instance."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from pytest_mock import MockerFixture

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.relay import EndReason, History, Hub, Message, QueueLimits, parse_patterns
from agent_mesh.relay.subscriber import Subscriber
from tests.unit.relay.conftest import Append

ONE = parse_patterns(["t.a"])
OVERLAPPING = parse_patterns(["t.a", "t.*", "**"])


def everything(subscriber: Subscriber) -> list[Message | EndReason]:
    """Take what waits, and the reason of the end."""
    taken: list[Message | EndReason] = []
    while (each := subscriber.take(0.0)) is not None:
        taken += [each] if isinstance(each, EndReason) else each
        if isinstance(each, EndReason):
            break
    return taken


def publish(hub: Hub, messages: Sequence[Message]) -> None:
    for message in messages:
        hub.publish(message)


def test_a_message_reaches_each_subscriber_of_its_topic_once(hub: Hub, append: Append) -> None:
    one, many, other = hub.subscribe(ONE), hub.subscribe(OVERLAPPING), hub.subscribe(parse_patterns(["t.b"]))
    messages = append("t.a", 3)
    publish(hub, [*messages, *messages])
    assert everything(one) == everything(many) == messages
    assert everything(other) == []


def test_presence_counts_who_gets_a_topic(hub: Hub) -> None:
    one, many = hub.subscribe(ONE), hub.subscribe(OVERLAPPING)
    assert [hub.presence(topic) for topic in ("t.a", "t.b", "u")] == [2, 1, 1]
    hub.unsubscribe(one)
    hub.unsubscribe(one)
    assert hub.presence("t.a") == 1
    hub.unsubscribe(many)
    assert hub.presence("t.a") == 0


def test_what_was_lost_or_overtaken_on_the_way_is_read_from_the_history(hub: Hub, append: Append) -> None:
    subscriber = hub.subscribe(ONE)
    first, lost, overtaken, last = append("t.a", 4)
    publish(hub, [first, last, overtaken])
    assert everything(subscriber) == [first, lost, overtaken, last]


def test_what_passed_while_nobody_listened_is_no_hole(
    hub: Hub, history: History, append: Append, mocker: MockerFixture
) -> None:
    first, second, third, last = append("t.a", 4)
    before = hub.subscribe(ONE)
    hub.publish(first)
    hub.unsubscribe(before)
    publish(hub, [second, third])
    read = mocker.spy(history, "since")
    subscriber = hub.subscribe(ONE)
    hub.publish(last)
    assert everything(subscriber) == [last]
    assert read.call_count == 0


def test_without_the_history_it_goes_on_and_leaves_the_hole_to_be_seen(
    hub: Hub, history: History, append: Append, mocker: MockerFixture
) -> None:
    subscriber = hub.subscribe(ONE)
    first, _, last = append("t.a", 3)
    mocker.patch.object(history, "since", side_effect=Unavailable("gone"))
    publish(hub, [first, last])
    assert everything(subscriber) == [first, last]


@pytest.mark.parametrize("limits", [QueueLimits(messages=2), QueueLimits(size_bytes=200)])
def test_one_that_does_not_read_is_dropped_and_freed_and_slows_nobody(
    history: History, append: Append, limits: QueueLimits
) -> None:
    hub = Hub(history, limits)
    stuck, other = hub.subscribe(ONE), hub.subscribe(ONE)
    messages = append("t.a", 3)
    taken = []
    for message in messages:
        hub.publish(message)
        taken += everything(other)
    assert taken == messages
    assert (stuck.waiting, hub.presence("t.a")) == (0, 1)
    assert everything(stuck) == [EndReason.SLOW]


def test_a_closed_hub_ends_every_stream_and_takes_no_other(hub: Hub, append: Append) -> None:
    before = hub.subscribe(OVERLAPPING)
    publish(hub, append("t.a"))
    hub.close()
    assert everything(before) == everything(hub.subscribe(ONE)) == [EndReason.SHUTDOWN]
    assert hub.presence("t.a") == 0


def test_a_waiting_subscriber_wakes_up_when_something_comes(hub: Hub, append: Append) -> None:
    subscriber = hub.subscribe(ONE)
    taken: list[Sequence[Message] | EndReason | None] = []
    reader = threading.Thread(target=lambda: taken.append(subscriber.take(30.0)))
    reader.start()
    messages = append("t.a")
    publish(hub, messages)
    reader.join(10.0)
    assert taken == [messages]


def test_a_subscriber_that_is_woken_has_nothing_and_goes_on_waiting(hub: Hub, append: Append) -> None:
    subscriber = hub.subscribe(ONE)
    subscriber.wake()
    assert subscriber.take(30.0) is None
    messages = append("t.a")
    publish(hub, messages)
    assert subscriber.take(30.0) == messages
