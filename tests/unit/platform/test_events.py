"""Events: gathered while a call is served, published together, the same event under the same id."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agent_mesh.contracts.events import CloudEvent
from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.logs import configure_logs, current_trace
from agent_mesh.platform.pubsub import Message
from agent_mesh.platform.trace import Trace
from tests.conftest import HandClock, RecordingPublisher

TRACE = Trace("a" * 32, "b" * 16)


class ClosedTopic:
    """Takes nothing."""

    def publish(self, _topic: str, _messages: Sequence[Message]) -> list[str]:
        raise Unavailable("The topic is closed.")


@pytest.fixture
def events(publisher: RecordingPublisher, clock: HandClock) -> EventLog:
    log = EventLog(publisher, "projects/p/topics/events", "shout", clock)
    log.begin()
    return log


def test_an_event_says_what_happened_to_what_and_when(events: EventLog, publisher: RecordingPublisher) -> None:
    current_trace.set(TRACE)
    events.emit("mesh.task.done", "task_1", {"costCents": 5})
    events.flush()
    (message,) = publisher.on("events")
    event = CloudEvent.model_validate_json(message.data)
    assert (event.source, event.type, event.subject, event.data) == (
        "/shout",
        "mesh.task.done",
        "task_1",
        {"costCents": 5},
    )
    assert (event.time, event.traceparent) == ("2027-01-15T08:00:00.000Z", TRACE.traceparent)
    assert message.attributes == {
        "type": "mesh.task.done",
        "subject": "task_1",
        "traceparent": TRACE.traceparent,
    }


def test_the_same_happening_is_the_same_event(
    events: EventLog, publisher: RecordingPublisher, clock: HandClock
) -> None:
    events.emit("mesh.a", "1", {}, once="1")
    clock.advance(60)
    events.emit("mesh.a", "1", {"late": True}, once="1")
    events.emit("mesh.a", "1", {}, once="2")
    events.emit("mesh.a", "2", {}, once="1")
    events.emit("mesh.b", "1", {}, once="1")
    events.flush()
    first, again, *others = [json.loads(message.data)["id"] for message in publisher.on("events")]
    assert first == again
    assert len({first, *others}) == 4


def test_what_was_published_is_not_published_again(events: EventLog, publisher: RecordingPublisher) -> None:
    events.emit("mesh.a", "1", {})
    events.flush()
    events.flush()
    assert len(publisher.on("events")) == 1


def test_a_new_call_forgets_what_the_last_one_could_not_publish(
    events: EventLog, publisher: RecordingPublisher
) -> None:
    events.emit("mesh.a", "1", {})
    events.begin()
    events.flush()
    assert publisher.on("events") == []


def test_a_topic_that_is_closed_is_logged_and_fails_nobody(
    clock: HandClock, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    configure_logs("p", "shout")
    events = EventLog(ClosedTopic(), "projects/p/topics/events", "shout", clock)
    events.begin()
    events.emit("mesh.a", "1", {"secret": "s"})
    events.flush()
    events.flush()
    told, line = logged()
    assert told["type"] == "mesh.a"
    assert (line["types"], line["reason"]) == (["mesh.a"], "The topic is closed.")
    assert "secret" not in str([told, line])


def test_a_call_that_is_nothing_without_its_events_fails_with_them(clock: HandClock) -> None:
    events = EventLog(ClosedTopic(), "projects/p/topics/events", "shout", clock)
    events.begin()
    events.publish_or_fail()
    events.emit("mesh.a", "1", {})
    with pytest.raises(Unavailable):
        events.publish_or_fail()
    events.publish_or_fail()


def test_every_event_is_a_line_of_the_log_that_counters_can_read(
    publisher: RecordingPublisher, clock: HandClock, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    configure_logs("p", "shout")
    events = EventLog(publisher, "projects/p/topics/events", "shout", clock)
    events.begin()
    events.emit("mesh.task.succeeded", "task_1", {"agent": "light", "costCents": 5, "caller": "ann@example.com"})
    events.flush()
    (line,) = logged()
    assert (line["severity"], line["type"], line["subject"]) == ("INFO", "mesh.task.succeeded", "task_1")
    assert (line["agent"], line["costCents"], line["role"]) == ("light", 5, "shout")
    assert "ann@example.com" not in str(line)
