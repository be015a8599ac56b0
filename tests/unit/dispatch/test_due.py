"""What a due task needs next, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_mesh.agents.records import Outcome, RunRecord, RunState
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import DispatchRequest, Mode, TaskFault, TaskStatus
from agent_mesh.dispatch.admission import Terms, new_task
from agent_mesh.dispatch.due import Patience, Step, next_move
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.platform.clock import moment

NOW = 1_800_000_000.0
PATIENCE = Patience(republish_s=60.0, max_attempts=5)


def a_task(**changes: object) -> TaskRecord:
    request = DispatchRequest(agent="light", payload={}, ttl=NOW + 1000, budget_cents=5, mode=Mode.PUBSUB)
    return replace(new_task(request, "ann", "t", NOW, Terms(5, 60.0, 30)), **changes)  # type: ignore[arg-type]


def a_run(state: RunState, **changes: object) -> RunRecord:
    run = RunRecord("task", "light", "", state, 1, None, moment(NOW))
    return replace(run, **changes)  # type: ignore[arg-type]


def test_an_ended_task_is_due_for_its_callback_alone() -> None:
    assert next_move(a_task(status=TaskStatus.SUCCEEDED), None, NOW, PATIENCE).step is Step.CALL_BACK


def test_a_finished_run_settles_its_task_even_after_the_ttl() -> None:
    outcome = Outcome(RunStatus.SUCCEEDED, "1")
    move = next_move(a_task(), a_run(RunState.FINISHED, outcome=outcome), NOW + 5000, PATIENCE)
    assert (move.step, move.outcome) == (Step.SETTLE, outcome)


def test_a_living_run_is_left_alone_until_its_lease_ends() -> None:
    run = a_run(RunState.RUNNING, lease_until=moment(NOW + 30))
    move = next_move(a_task(), run, NOW, PATIENCE)
    assert (move.step, move.until) == (Step.POSTPONE, NOW + 31)


@pytest.mark.parametrize("run", [None, a_run(RunState.PARKED), a_run(RunState.WAITING), a_run(RunState.RUNNING)])
def test_whatever_nobody_works_on_expires_at_its_ttl(run: RunRecord | None) -> None:
    move = next_move(a_task(), run, NOW + 1000, PATIENCE)
    assert move.step is Step.EXPIRE
    assert move.outcome is not None
    assert move.outcome.status is RunStatus.EXPIRED


def test_an_unclaimed_task_is_published_again_ever_more_rarely() -> None:
    early = next_move(a_task(), None, NOW + 60, PATIENCE)
    late = next_move(a_task(), None, NOW + 500, PATIENCE)
    assert (early.step, early.until, early.attempt) == (Step.REPUBLISH, NOW + 120, 1)
    assert late.until == NOW + 1000


def test_a_delayed_task_counts_its_wait_from_its_own_moment() -> None:
    move = next_move(a_task(not_before=NOW + 400), None, NOW + 400, PATIENCE)
    assert move.until == NOW + 460


def test_a_delayed_task_that_is_looked_at_early_waits_for_its_moment() -> None:
    move = next_move(a_task(not_before=NOW + 400), None, NOW + 60, PATIENCE)
    assert (move.step, move.until) == (Step.POSTPONE, NOW + 400)


def test_a_crashed_run_is_started_again_as_the_next_attempt() -> None:
    run = a_run(RunState.RUNNING, attempt=2, lease_until=moment(NOW - 1))
    move = next_move(a_task(), run, NOW, PATIENCE)
    assert (move.step, move.attempt) == (Step.REPUBLISH, 3)


def test_a_failed_attempt_is_left_to_pubsub_while_it_may_be_backing_off() -> None:
    run = a_run(RunState.WAITING, attempt=1)
    assert next_move(a_task(), run, NOW + 19, PATIENCE).step is Step.POSTPONE
    assert next_move(a_task(), run, NOW + 20, PATIENCE).step is Step.REPUBLISH


def test_the_fifth_failed_attempt_was_the_last() -> None:
    fault = TaskFault(code="closed", detail="not today")
    run = a_run(RunState.WAITING, attempt=5, last_fault=fault, started_at=moment(NOW) - timedelta(hours=1))
    move = next_move(a_task(), run, NOW, PATIENCE)
    assert move.step is Step.BURY
    assert move.outcome is not None
    assert move.outcome.error is not None
    assert (move.outcome.status, move.outcome.error.code) == (RunStatus.DEAD, "closed")
    assert "not today" in move.outcome.error.detail
