"""A task over Pub/Sub, from dispatch to its end."""

from __future__ import annotations

import base64
import json

import pytest

from agent_mesh.agents.errors import RetryableError, TerminalError
from agent_mesh.contracts.problems import (
    AgentPaused,
    AgentUnknown,
    AttemptFailed,
    BudgetExceeded,
    IdempotencyConflict,
    InvalidRequest,
    TtlExpired,
)
from agent_mesh.contracts.push import PushEnvelope, PushMessage
from agent_mesh.contracts.tasks import Mode, TaskStatus
from agent_mesh.deadletters.arrival import read_dead_letter
from agent_mesh.deadletters.store import DeadFilter
from agent_mesh.dispatch.store import TaskFilter
from agent_mesh.platform.pubsub import Message
from tests.unit.dispatch.conftest import CALLER, PRICE, Mesh


def test_a_task_runs_once_and_is_charged_its_price(mesh: Mesh) -> None:
    task = mesh.run(payload={"msg": "hi"})
    assert (task.status, task.result, task.cost_cents) == (TaskStatus.SUCCEEDED, {"echo": {"msg": "hi"}}, PRICE)
    assert mesh.handler.calls == [{"msg": "hi"}]
    assert mesh.spent() == PRICE


def test_an_accepted_task_shows_where_it_is(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    assert mesh.task(accepted.task_id).status is TaskStatus.ACCEPTED
    mesh.deliver_tasks()
    assert mesh.task(accepted.task_id).status is TaskStatus.RUNNING  # its result is on the way
    mesh.deliver_results()
    assert mesh.task(accepted.task_id).status is TaskStatus.SUCCEEDED


def test_a_message_delivered_twice_runs_once_and_answers_twice(mesh: Mesh) -> None:
    mesh.dispatch()
    messages = mesh.publisher.on("tasks")
    mesh.deliver_tasks(messages * 2)
    assert len(mesh.handler.calls) == 1
    assert len(mesh.publisher.on("results")) == 2


def test_a_late_duplicate_of_a_result_changes_nothing(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    mesh.deliver_tasks()
    (result,) = mesh.publisher.on("results")
    mesh.deliver_results()
    before = mesh.task(accepted.task_id)
    mesh.clock.advance(5)
    mesh.orchestrator.results.arrive_by_push(mesh.envelope(result, "results", attempt=2))
    assert mesh.task(accepted.task_id) == before
    assert mesh.spent() == PRICE


def test_the_same_key_gives_the_first_task_whatever_its_limits(mesh: Mesh) -> None:
    first = mesh.dispatch(idempotency_key="k")
    again = mesh.dispatch(idempotency_key="k", ttl=mesh.clock.now() - 5, budget_cents=1, trace_id="other")
    assert again.task_id == first.task_id
    assert mesh.spent() == PRICE


@pytest.mark.parametrize("changes", [{"payload": {"n": 2}}, {"mode": "http"}])
def test_the_same_key_for_something_else_is_a_conflict(mesh: Mesh, changes: dict[str, object]) -> None:
    mesh.dispatch(idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        mesh.dispatch(idempotency_key="k", **changes)


def test_a_key_belongs_to_its_caller(mesh: Mesh) -> None:
    first = mesh.dispatch(idempotency_key="k")
    other = mesh.orchestrator.dispatcher.dispatch(mesh.request(idempotency_key="k"), "bob@example.com")
    assert other.task.task_id != first.task_id


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"ttl": 1.0}, TtlExpired),
        ({"budget_cents": PRICE - 1}, BudgetExceeded),
        ({"agent": "nobody"}, AgentUnknown),
    ],
)
def test_a_refusal_leaves_a_rejected_task_and_reserves_nothing(
    mesh: Mesh, changes: dict[str, object], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal) as caught:
        mesh.dispatch(**changes)
    task = mesh.task(caught.value.task_id)  # type: ignore[attr-defined]
    assert task.status is TaskStatus.REJECTED
    assert task.error is not None
    assert task.error.code == caught.value.code  # type: ignore[attr-defined]
    assert mesh.spent() == 0
    assert not mesh.publisher.on("tasks")


def test_a_refusal_does_not_use_up_the_key(mesh: Mesh) -> None:
    with pytest.raises(BudgetExceeded):
        mesh.dispatch(idempotency_key="k", budget_cents=1)
    assert mesh.dispatch(idempotency_key="k").status is TaskStatus.ACCEPTED


def test_a_bad_callback_is_refused_and_leaves_nothing(mesh: Mesh) -> None:
    with pytest.raises(InvalidRequest):
        mesh.dispatch(callback_url="https://169.254.169.254/latest")
    tasks, _ = mesh.orchestrator.tasks.page(TaskFilter(), None, 10)
    assert tasks == []


def test_a_task_delivered_after_its_ttl_expires_unrun(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    mesh.clock.advance(61)
    mesh.deliver_tasks()
    mesh.deliver_results()
    assert mesh.task(accepted.task_id).status is TaskStatus.EXPIRED
    assert mesh.handler.calls == []
    assert mesh.spent() == 0


def test_a_result_that_arrives_after_the_ttl_is_withheld_and_charged(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    mesh.deliver_tasks()
    mesh.clock.advance(61)
    mesh.deliver_results()
    task = mesh.task(accepted.task_id)
    assert (task.status, task.result, task.cost_cents) == (TaskStatus.EXPIRED, None, PRICE)


def test_a_retryable_failure_is_not_acknowledged_and_may_succeed_later(mesh: Mesh) -> None:
    def fail(_payload: object, _run: object) -> None:
        raise RetryableError("the printer is on fire")

    succeed, mesh.handler.act = mesh.handler.act, fail
    accepted = mesh.dispatch()
    messages = mesh.publisher.on("tasks")
    (refused,) = mesh.deliver_tasks(messages)
    assert isinstance(refused, AttemptFailed)
    assert mesh.task(accepted.task_id).status is TaskStatus.DELIVERED
    mesh.handler.act = succeed
    mesh.deliver_tasks(messages)
    mesh.deliver_results()
    task = mesh.task(accepted.task_id)
    assert (task.status, task.attempt, task.cost_cents) == (TaskStatus.SUCCEEDED, 2, PRICE)


def test_a_terminal_failure_is_dead_at_once_with_a_dead_letter(mesh: Mesh) -> None:
    def fail(_payload: object, _run: object) -> None:
        raise TerminalError("no such document", code="document_missing")

    mesh.handler.act = fail
    task = mesh.run()
    assert task.status is TaskStatus.DEAD
    (letter,) = mesh.publisher.on("tasks-dead")
    mesh.orchestrator.control.bury(mesh.envelope(letter, "tasks-dead"))
    (kept,) = mesh.orchestrator.dead_letters.page(DeadFilter(), 10)
    assert (kept.task_id, kept.reason) == (task.task_id, "document_missing")
    assert mesh.spent() == 0


def test_a_message_whose_deliveries_are_used_up_ends_its_task(mesh: Mesh) -> None:
    def fail(_payload: object, _run: object) -> None:
        raise RetryableError("not today", code="closed")

    mesh.handler.act = fail
    accepted = mesh.dispatch()
    (message,) = mesh.publisher.on("tasks")
    mesh.deliver_tasks([message])
    mesh.bury(message)
    task = mesh.task(accepted.task_id)
    assert task.status is TaskStatus.DEAD
    assert task.error is not None
    assert task.error.code == "closed"
    assert mesh.spent() == 0
    (letter,) = mesh.orchestrator.dead_letters.page(DeadFilter(agent="light"), 10)
    replayed = mesh.orchestrator.control.replay_dead(letter, CALLER)
    assert replayed.task is not None
    assert replayed.task.replay_of == accepted.task_id


def test_a_dead_letter_of_a_deployment_with_a_prefix_ends_its_task(mesh: Mesh) -> None:
    envelope = PushEnvelope(
        message=PushMessage(data=base64.b64encode(b"{}").decode(), message_id="1"),
        subscription="projects/p/subscriptions/mesh-dev-results-dead",
    )
    assert read_dead_letter(envelope, 0, "mesh-dev-").topic == "results"
    assert read_dead_letter(envelope, 0).topic == "mesh-dev-results"


def test_a_message_that_nobody_can_read_is_kept_and_sent_again_as_it_was(mesh: Mesh) -> None:
    mesh.bury(Message(b"not json", {"agent": "light"}))
    (letter,) = mesh.orchestrator.dead_letters.page(DeadFilter(), 10)
    assert letter.task_id is None
    mesh.orchestrator.control.replay_dead(letter, CALLER)
    (again,) = mesh.publisher.on("tasks")
    assert (again.data, again.attributes) == (b"not json", {"agent": "light"})


def test_a_budget_tells_when_it_reaches_half_four_fifths_and_all(mesh: Mesh) -> None:
    mesh.orchestrator._parts.events.begin()
    mesh.dispatch(budget_cents=PRICE)
    (budget,) = mesh.orchestrator.tasks._database.collection("budgets").get()
    budget.reference.update({"limitCents": 10 * PRICE})
    reached = []
    for _ in range(9):
        mesh.dispatch(budget_cents=PRICE)
        mesh.orchestrator._parts.events.flush()
        events = [json.loads(message.data) for message in mesh.publisher.messages.pop("events")]
        reached.append([event["data"]["percent"] for event in events if event["type"] == "mesh.budget.threshold"])
    assert reached == [[], [], [], [50], [], [], [80], [], [100]]


def test_an_http_dispatch_to_a_paused_agent_is_refused(mesh: Mesh) -> None:
    mesh.orchestrator.control.pause("light", CALLER)
    with pytest.raises(AgentPaused):
        mesh.dispatch(mode=Mode.HTTP)
