"""A run in a process's hands: progress, cancellation, the lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent_mesh.agents.errors import RunCancelled
from agent_mesh.agents.held_run import HeldRun, LostLease, Run
from agent_mesh.agents.records import PROGRESS_LIMIT, Outcome, RunRecord, RunState
from agent_mesh.agents.runs import RunStore, WantedRun
from agent_mesh.budgets import Budgets
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.platform.clock import moment
from agent_mesh.platform.firestore import FirestoreClient
from tests.conftest import HandClock

LEASE_S = 30.0
DONE = Outcome(RunStatus.SUCCEEDED, "1")
FAULT = TaskFault(code="closed", detail="not today", retryable=True)
TASK = WantedRun("task_1", "light", "")
Stored = Callable[[], RunRecord]


@pytest.fixture
def runs(database: FirestoreClient, clock: HandClock) -> RunStore:
    return RunStore(database, Budgets(database, 0), clock, LEASE_S, 30)


@pytest.fixture
def held(runs: RunStore, clock: HandClock) -> HeldRun:
    return HeldRun(runs, runs.claim(TASK).run, clock)


@pytest.fixture
def run(held: HeldRun, clock: HandClock) -> Run:
    return Run(held, clock, ttl=clock.now() + 60, budget_cents=7, trace_id="t")


@pytest.fixture
def stored(runs: RunStore) -> Stored:
    """The run as the database has it."""

    def read() -> RunRecord:
        found = runs.get("task_1")
        assert found is not None
        return found

    return read


def test_a_handler_knows_its_run(run: Run, clock: HandClock) -> None:
    assert (run.run_id, run.attempt, run.budget_cents, run.trace_id) == ("task_1", 1, 7, "t")
    assert run.remaining_s == 60
    clock.advance(61)
    assert run.remaining_s == 0


def test_a_run_without_a_ttl_may_take_for_ever(held: HeldRun, clock: HandClock) -> None:
    assert Run(held, clock, ttl=None, budget_cents=None, trace_id="").remaining_s == float("inf")


def test_progress_is_stored_at_most_once_a_second_and_loses_nothing(run: Run, stored: Stored, clock: HandClock) -> None:
    run.progress("a")
    assert stored().progress == ()
    clock.advance(1)
    run.progress("b", percent=50.0)
    assert [(entry.message, entry.percent) for entry in stored().progress] == [("a", None), ("b", 50.0)]
    clock.advance(0.9)
    run.progress("c")
    assert len(stored().progress) == 2
    clock.advance(0.1)
    run.progress("d")
    assert [entry.message for entry in stored().progress] == ["a", "b", "c", "d"]


def test_progress_is_a_sign_of_life(run: Run, stored: Stored, clock: HandClock) -> None:
    clock.advance(LEASE_S - 1)
    run.progress("still here")
    assert stored().lease_until == moment(clock.now() + LEASE_S)


@pytest.mark.parametrize("end", ["finish", "wait"])
def test_what_was_not_stored_of_the_progress_is_stored_at_the_end(
    run: Run, held: HeldRun, stored: Stored, end: str
) -> None:
    run.progress("x" * 900)
    if end == "finish":
        held.finish(DONE)
    else:
        held.wait(FAULT)
    assert [entry.message for entry in stored().progress] == ["x" * 500]


def test_the_youngest_hundred_reports_are_kept(run: Run, held: HeldRun, stored: Stored) -> None:
    for number in range(PROGRESS_LIMIT + 20):
        run.progress(str(number))
    held.finish(DONE)
    assert [entry.message for entry in stored().progress] == [str(n) for n in range(20, PROGRESS_LIMIT + 20)]


def test_the_progress_of_an_earlier_attempt_stays(
    run: Run, held: HeldRun, runs: RunStore, stored: Stored, clock: HandClock
) -> None:
    run.progress("first")
    held.wait(FAULT)
    again = HeldRun(runs, runs.claim(TASK).run, clock)
    again.report("second", None)
    again.finish(DONE)
    assert [entry.message for entry in stored().progress] == ["first", "second"]


def test_a_cancellation_is_seen_after_a_second_at_the_latest(run: Run, runs: RunStore, clock: HandClock) -> None:
    runs.request_cancel("task_1")
    seen = [run.cancelled]
    run.stop_if_cancelled()
    clock.advance(1)
    seen.append(run.cancelled)
    assert seen == [False, True]
    with pytest.raises(RunCancelled):
        run.stop_if_cancelled()


def test_the_database_is_asked_at_most_once_a_second(
    run: Run, runs: RunStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    get = runs.get

    def counted(run_id: str) -> RunRecord | None:
        asked.append(run_id)
        return get(run_id)

    monkeypatch.setattr(runs, "get", counted)
    for _ in range(50):
        clock.advance(0.1)
        assert not run.cancelled
    assert 4 <= len(asked) <= 5
    runs.request_cancel("task_1")
    clock.advance(1)
    asked.clear()
    assert all([run.cancelled, run.cancelled, run.cancelled])
    clock.advance(9)
    assert run.cancelled
    assert len(asked) == 1


def test_a_cancellation_does_not_keep_the_end_from_being_stored(
    run: Run, held: HeldRun, runs: RunStore, stored: Stored
) -> None:
    runs.request_cancel("task_1")
    held.finish(DONE)
    assert stored().outcome == DONE
    assert run.cancelled


def test_a_handler_that_asks_whether_it_is_cancelled_reports_progress_all_the_same(
    run: Run, stored: Stored, clock: HandClock
) -> None:
    for number in range(3):
        clock.advance(2)
        run.stop_if_cancelled()
        run.progress(str(number))
    assert [entry.message for entry in stored().progress] == ["0", "1", "2"]


def test_a_handler_that_reports_progress_sees_a_cancellation_all_the_same(
    run: Run, runs: RunStore, clock: HandClock
) -> None:
    runs.request_cancel("task_1")
    clock.advance(2)
    run.progress("half")
    assert run.cancelled


def test_a_lease_is_renewed(held: HeldRun, stored: Stored, clock: HandClock) -> None:
    clock.advance(LEASE_S - 1)
    held.renew()
    assert stored().lease_until == moment(clock.now() + LEASE_S)
    assert held.record == stored()


def take_over(runs: RunStore, clock: HandClock) -> RunRecord:
    clock.advance(LEASE_S)
    claim = runs.claim(TASK)
    assert claim.won
    return claim.run


@pytest.mark.parametrize(
    "say",
    [
        lambda held, _run: held.finish(DONE),
        lambda held, _run: held.wait(FAULT),
        lambda _held, run: run.progress("half"),
        lambda _held, run: run.cancelled,
    ],
    ids=["finish", "wait", "progress", "cancelled"],
)
def test_whoever_lost_the_lease_has_nothing_more_to_say(
    held: HeldRun, run: Run, runs: RunStore, stored: Stored, clock: HandClock, say: Callable[[HeldRun, Run], Any]
) -> None:
    newer = take_over(runs, clock)
    with pytest.raises(LostLease, match="no longer at attempt 1"):
        say(held, run)
    assert stored() == newer


@pytest.mark.parametrize("how", ["taken over", "finished", "deleted"])
def test_a_renewal_that_comes_too_late_is_logged_and_raises_nothing(
    held: HeldRun, runs: RunStore, database: FirestoreClient, clock: HandClock, how: str
) -> None:
    before = held.record
    if how == "deleted":
        database.collection("runs").document("task_1").delete()
    else:
        newer = take_over(runs, clock)
        if how == "finished":
            runs.finish(newer, DONE)
    held.renew()
    assert held.record == before


def test_a_run_that_was_finished_under_its_own_attempt_is_lost_too(
    held: HeldRun, runs: RunStore, stored: Stored
) -> None:
    runs.finish(held.record, DONE)
    with pytest.raises(LostLease):
        held.wait(FAULT)
    assert (stored().state, stored().outcome) == (RunState.FINISHED, DONE)
