"""Where outcomes go."""

from __future__ import annotations

import json

import pytest

from agent_mesh.agents.delivery import OutcomeSender, Topics
from agent_mesh.agents.execution import Ran
from agent_mesh.agents.records import Outcome
from agent_mesh.contracts.runs import RunMessage, RunStatus
from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.logs import current_trace
from agent_mesh.platform.trace import Trace
from agent_mesh.webhooks import Callbacks, DeliveryStatus
from tests.conftest import HandClock, RecordingPublisher
from tests.unit.agents.conftest import SECRET, Receiver

DONE = Ran(Outcome(RunStatus.SUCCEEDED, '{"a":1}', None, 5), 2)
DEAD = Ran(Outcome(RunStatus.DEAD, None, TaskFault(code="page_missing", detail="No such page."), 1), 1)
TASK = RunMessage(payload={"n": 1}, task_id="task_1", trace_id="trace", budget_cents=9, ttl=1.8e9)


@pytest.fixture
def events(publisher: RecordingPublisher, clock: HandClock) -> EventLog:
    log = EventLog(publisher, "projects/p/topics/events", "light", clock)
    log.begin()
    return log


@pytest.fixture
def sender(publisher: RecordingPublisher, events: EventLog, clock: HandClock) -> OutcomeSender:
    topics = Topics("projects/p/topics/results", "projects/p/topics/tasks-dead")
    callbacks = Callbacks([SECRET], ["127.0.0.1"], clock)
    return OutcomeSender("light", publisher, topics, callbacks, events, clock)


def test_a_result_is_published_with_all_that_settles_its_task(
    sender: OutcomeSender, publisher: RecordingPublisher, clock: HandClock
) -> None:
    current_trace.set(Trace("a" * 32, "b" * 16))
    sender.publish("task_1", DONE, TASK)
    (message,) = publisher.on("results")
    assert json.loads(message.data) == {
        "taskId": "task_1",
        "agent": "light",
        "status": "succeeded",
        "result": {"a": 1},
        "costCents": 5,
        "attempt": 2,
        "traceId": "trace",
        "finishedAt": clock.now(),
    }
    assert message.attributes == {
        "agent": "light",
        "taskId": "task_1",
        "traceId": "trace",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }
    assert publisher.on("tasks-dead") == []


def test_a_result_without_a_trace_says_none(sender: OutcomeSender, publisher: RecordingPublisher) -> None:
    sender.publish("run_1", DONE, RunMessage(payload={}))
    (message,) = publisher.on("results")
    assert message.attributes == {"agent": "light", "taskId": "run_1"}


def test_a_run_that_is_dead_leaves_a_letter_that_can_be_sent_again(
    sender: OutcomeSender, publisher: RecordingPublisher
) -> None:
    sender.publish("task_1", DEAD, TASK)
    (letter,) = publisher.on("tasks-dead")
    assert RunMessage.model_validate_json(letter.data) == TASK
    assert letter.attributes["deadLetterReason"] == "page_missing"
    (result,) = publisher.on("results")
    assert json.loads(result.data)["error"]["code"] == "page_missing"


def test_a_dead_run_without_a_reason_is_simply_dead(sender: OutcomeSender, publisher: RecordingPublisher) -> None:
    sender.publish("task_1", Ran(Outcome(RunStatus.DEAD), 1), TASK)
    (letter,) = publisher.on("tasks-dead")
    assert letter.attributes["deadLetterReason"] == "dead"


def test_the_letter_of_a_direct_run_names_no_task_of_another(
    sender: OutcomeSender, publisher: RecordingPublisher
) -> None:
    """Whoever may call `/run` may name any task; a letter in its name would end it."""
    sender.publish("run_of_ann", DEAD, TASK)
    (letter,) = publisher.on("tasks-dead")
    assert RunMessage.model_validate_json(letter.data).task_id is None
    assert b"task_1" not in letter.data
    assert "task_1" not in letter.attributes.values()


def test_a_callback_gets_the_result_signed(sender: OutcomeSender, receiver: Receiver) -> None:
    sender.call_back("run_1", DONE, RunMessage(payload={}, callback_url=receiver.url))
    (body,) = receiver.bodies
    assert body["type"] == "mesh.run.succeeded"
    assert body["data"] == {
        "taskId": "run_1",
        "agent": "light",
        "status": "succeeded",
        "result": {"a": 1},
        "costCents": 5,
        "attempt": 2,
        "traceId": "",
        "finishedAt": 1_800_000_000.0,
    }


def test_without_a_callback_nobody_is_called(sender: OutcomeSender, receiver: Receiver) -> None:
    assert sender.call_back("run_1", DONE, RunMessage(payload={})) is None
    assert receiver.bodies == []


def test_a_callback_that_may_be_taken_later_is_not_done(sender: OutcomeSender, receiver: Receiver) -> None:
    receiver.status = 503
    request = RunMessage(payload={}, callback_url=receiver.url)
    assert sender.call_back("run_1", DONE, request) is DeliveryStatus.RETRY


def test_a_callback_that_nobody_will_ever_take_is_done(sender: OutcomeSender, receiver: Receiver) -> None:
    receiver.status = 410
    request = RunMessage(payload={}, callback_url=receiver.url)
    assert sender.call_back("run_1", DONE, request) is DeliveryStatus.GONE
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize(
    ("ran", "kind"),
    [
        (DONE, "mesh.run.succeeded"),
        (DEAD, "mesh.run.dead"),
        (Ran(Outcome(RunStatus.FAILED), 1, retryable=True), "mesh.run.retrying"),
        (Ran(Outcome(RunStatus.FAILED), 1), "mesh.run.failed"),
    ],
    ids=["succeeded", "dead", "retrying", "failed"],
)
def test_a_run_that_ended_now_is_told(
    sender: OutcomeSender, events: EventLog, publisher: RecordingPublisher, ran: Ran, kind: str
) -> None:
    sender.tell("task_1", ran)
    events.flush()
    (message,) = publisher.on("events")
    event = json.loads(message.data)
    assert (event["type"], event["subject"]) == (kind, "task_1")
    assert event["data"] == {"agent": "light", "costCents": ran.outcome.cost_cents, "attempt": ran.attempt}


def test_a_run_that_had_ended_before_is_not_told_again(
    sender: OutcomeSender, events: EventLog, publisher: RecordingPublisher
) -> None:
    sender.tell("task_1", Ran(DONE.outcome, 1, idempotent=True))
    events.flush()
    assert publisher.on("events") == []


def test_each_attempt_is_an_event_of_its_own_and_a_repeat_is_not(
    sender: OutcomeSender, events: EventLog, publisher: RecordingPublisher
) -> None:
    for attempt in (1, 2, 2):
        sender.tell("task_1", Ran(Outcome(RunStatus.FAILED), attempt, retryable=True))
    events.flush()
    assert len({json.loads(message.data)["id"] for message in publisher.on("events")}) == 2
