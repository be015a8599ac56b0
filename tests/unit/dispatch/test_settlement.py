"""What a result makes of its task."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.agents.records import Outcome
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import DispatchRequest, Mode, TaskStatus
from agent_mesh.dispatch.admission import Terms, new_task
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.settlement import TRANSITIONS, Arrival, ignored_because, settled
from agent_mesh.platform.clock import moment

NOW = 1_800_000_000.0


def a_task(**changes: object) -> TaskRecord:
    request = DispatchRequest(agent="light", payload={}, ttl=NOW + 60, budget_cents=9, mode=Mode.PUBSUB)
    return replace(new_task(request, "ann", "t", NOW, Terms(None, 60.0, 30)), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [status for status in TaskStatus if status.terminal])
def test_what_has_ended_never_changes(status: TaskStatus) -> None:
    assert not TRANSITIONS[status]
    assert ignored_because(a_task(status=status), Arrival(Outcome(RunStatus.SUCCEEDED), 9))


def test_a_result_of_an_older_attempt_is_refused() -> None:
    outcome = Outcome(RunStatus.SUCCEEDED, "1")
    assert ignored_because(a_task(attempt=3), Arrival(outcome, 2)) is not None
    assert ignored_because(a_task(attempt=3), Arrival(outcome, 3)) is None


@pytest.mark.parametrize("status", list(RunStatus))
def test_every_outcome_ends_the_task(status: RunStatus) -> None:
    done = settled(a_task(), Arrival(Outcome(status, "1", cost_cents=4), 2), NOW + 1)
    assert (done.status.value, done.cost_cents, done.attempt) == (status.value, 4, 2)
    assert done.finished_at == moment(NOW + 1)
    assert done.due_at is None


def test_a_success_at_the_ttl_is_too_late() -> None:
    arrival = Arrival(Outcome(RunStatus.SUCCEEDED, "1", cost_cents=4), 1)
    in_time, too_late = settled(a_task(), arrival, NOW + 59.999), settled(a_task(), arrival, NOW + 60)
    assert (in_time.status, in_time.result_json) == (TaskStatus.SUCCEEDED, "1")
    assert (too_late.status, too_late.result_json, too_late.cost_cents) == (TaskStatus.EXPIRED, None, 4)


@given(cost=st.integers(0, 10**9), reserved=st.integers(0, 10**6))
def test_a_charge_never_passes_what_was_reserved(cost: int, reserved: int) -> None:
    task = a_task()
    assert task.reservation is not None
    task = replace(task, reservation=replace(task.reservation, cents=reserved))
    done = settled(task, Arrival(Outcome(RunStatus.SUCCEEDED, cost_cents=cost), 1), NOW)
    assert done.cost_cents == min(cost, reserved)
