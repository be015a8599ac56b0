"""The `runs` collection: who may work on a run, and what it reserves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from agent_mesh.agents.records import Outcome, Progress, RunState
from agent_mesh.agents.runs import RunStore, WantedRun
from agent_mesh.budgets import Budgets, Reservation, day_budget_id
from agent_mesh.contracts.problems import BudgetExceeded, IdempotencyConflict
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.platform.clock import moment
from agent_mesh.platform.firestore import FirestoreClient, LostRace
from tests.conftest import HandClock

LEASE_S = 30.0
LIMIT = 10
DONE = Outcome(RunStatus.SUCCEEDED, '"done"', None, 3)
LATE = Outcome.refused(RunStatus.EXPIRED, "ttl_expired", "too late")
FAULT = TaskFault(code="closed", detail="not today", retryable=True)
TASK = WantedRun("task_1", "light", "")
Spent = Callable[[], int]


@pytest.fixture
def budgets(database: FirestoreClient) -> Budgets:
    return Budgets(database, LIMIT)


@pytest.fixture
def runs(database: FirestoreClient, budgets: Budgets, clock: HandClock) -> RunStore:
    return RunStore(database, budgets, clock, LEASE_S, 30)


@pytest.fixture
def spent(budgets: Budgets, clock: HandClock) -> Spent:
    """What today's budget says is reserved or spent."""
    return lambda: budgets.read(day_budget_id("light", clock.now())).used_cents


def direct(clock: HandClock, run_id: str = "run_1", cents: int = 5, fingerprint: str = "f") -> WantedRun:
    reservation = Reservation(day_budget_id("light", clock.now()), cents)
    return WantedRun(run_id, "light", "ann", fingerprint=fingerprint, reservation=reservation)


def test_a_run_that_nobody_had_is_not_there(runs: RunStore) -> None:
    assert runs.get("task_1") is None
    assert runs.get_many([]) == {}


def test_the_first_to_claim_a_run_has_it_for_a_lease(runs: RunStore, clock: HandClock) -> None:
    claim = runs.claim(TASK)
    assert claim.won
    assert (claim.run.state, claim.run.attempt) == (RunState.RUNNING, 1)
    assert claim.run.lease_until == moment(clock.now() + LEASE_S)
    assert runs.get("task_1") == claim.run
    again = runs.claim(TASK)
    assert not again.won
    assert again.run == claim.run


def test_of_many_that_claim_at_once_one_wins(runs: RunStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(runs.claim, [TASK] * 8))
    assert [claim.won for claim in claims].count(True) == 1
    assert {claim.run.attempt for claim in claims} == {1}


def test_several_runs_are_read_together(runs: RunStore) -> None:
    runs.claim(TASK)
    runs.claim(WantedRun("task_2", "light", ""))
    assert set(runs.get_many(["task_1", "task_2", "task_3"])) == {"task_1", "task_2"}


@pytest.mark.parametrize(("ttl", "longer"), [(None, 0), (-60, 0), (3600, 3600)])
def test_a_run_is_kept_for_as_long_as_was_said_after_its_task_can_come_back(
    runs: RunStore, database: FirestoreClient, clock: HandClock, ttl: float | None, longer: float
) -> None:
    runs.claim(WantedRun("task_1", "light", "", ttl=None if ttl is None else clock.now() + ttl))
    kept = database.collection("runs").document("task_1").get().get("expireAt")
    assert kept == moment(clock.now()) + timedelta(days=30, seconds=longer)


def test_a_run_whose_lease_ended_is_taken_over_and_the_older_attempt_is_refused(
    runs: RunStore, clock: HandClock
) -> None:
    older = runs.claim(TASK).run
    clock.advance(LEASE_S)
    newer = runs.claim(TASK)
    assert newer.won
    assert newer.run.attempt == 2
    with pytest.raises(LostRace):
        runs.finish(older, DONE)
    with pytest.raises(LostRace):
        runs.renew(older)
    runs.finish(newer.run, DONE)
    stored = runs.get("task_1")
    assert stored is not None
    assert (stored.outcome, stored.attempt) == (DONE, 2)


def test_a_lease_that_was_renewed_does_not_end(runs: RunStore, clock: HandClock) -> None:
    run = runs.claim(TASK).run
    clock.advance(LEASE_S - 1)
    run = runs.renew(run)
    clock.advance(LEASE_S - 1)
    assert not runs.claim(TASK).won
    run = runs.report(run, [Progress(moment(clock.now()), "half", 50.0)])
    clock.advance(LEASE_S - 1)
    found = runs.claim(TASK)
    assert not found.won
    assert found.run == run
    assert [entry.message for entry in found.run.progress] == ["half"]


def test_an_attempt_that_the_sender_counts_higher_is_kept(runs: RunStore, clock: HandClock) -> None:
    assert runs.claim(WantedRun("task_1", "light", "", attempt=4)).run.attempt == 4
    clock.advance(LEASE_S)
    assert runs.claim(WantedRun("task_1", "light", "", attempt=9)).run.attempt == 9
    clock.advance(LEASE_S)
    assert runs.claim(WantedRun("task_1", "light", "", attempt=2)).run.attempt == 10


def test_a_finished_run_stays_as_it_is(runs: RunStore, clock: HandClock) -> None:
    runs.finish(runs.claim(TASK).run, DONE, [Progress(moment(clock.now()), "all")])
    clock.advance(9 * LEASE_S)
    found = runs.claim(TASK, LATE)
    assert not found.won
    assert found.run.outcome == DONE
    runs.park(TASK)
    assert runs.fence(TASK, LATE).outcome == DONE
    assert [entry.message for entry in found.run.progress] == ["all"]


def test_a_run_that_is_refused_is_finished_and_never_starts(runs: RunStore, clock: HandClock, spent: Spent) -> None:
    claim = runs.claim(direct(clock), LATE)
    assert claim.won
    assert (claim.run.state, claim.run.outcome) == (RunState.FINISHED, LATE)
    assert runs.get("run_1") == claim.run
    assert spent() == 0
    assert not runs.claim(direct(clock)).won


def test_a_run_that_waits_may_be_refused_and_keeps_nothing_reserved(
    runs: RunStore, clock: HandClock, spent: Spent
) -> None:
    runs.claim(direct(clock))
    clock.advance(LEASE_S)
    claim = runs.claim(direct(clock), LATE)
    assert claim.won
    assert claim.run.outcome == LATE
    assert spent() == 0


def test_a_failed_attempt_waits_for_another(runs: RunStore, clock: HandClock) -> None:
    run = runs.wait(runs.claim(TASK).run, FAULT, [Progress(moment(clock.now()), "half")])
    assert (run.state, run.last_fault, run.lease_until) == (RunState.WAITING, FAULT, None)
    again = runs.claim(TASK)
    assert again.won
    assert again.run.attempt == 2
    assert [entry.message for entry in again.run.progress] == ["half"]


def test_another_request_under_the_same_id_is_a_conflict_in_every_state(runs: RunStore, clock: HandClock) -> None:
    claimed = runs.claim(direct(clock)).run
    for step in (lambda: None, lambda: clock.advance(LEASE_S), lambda: runs.finish(claimed, DONE)):
        step()
        with pytest.raises(IdempotencyConflict):
            runs.claim(direct(clock, fingerprint="other"))


def test_a_task_has_no_fingerprint_and_conflicts_with_nothing(runs: RunStore, clock: HandClock) -> None:
    runs.claim(direct(clock, run_id="task_1"))
    clock.advance(LEASE_S)
    assert runs.claim(TASK).won


def test_a_direct_run_reserves_and_is_settled_by_its_cost(runs: RunStore, clock: HandClock, spent: Spent) -> None:
    run = runs.claim(direct(clock)).run
    assert run.reservation == Reservation(day_budget_id("light", clock.now()), 5)
    assert spent() == 5
    finished = runs.finish(run, DONE)
    assert spent() == 3
    assert finished.reservation is not None
    assert finished.reservation.cents == 0


def test_a_direct_run_that_waits_reserves_nothing_and_reserves_again(
    runs: RunStore, clock: HandClock, spent: Spent
) -> None:
    runs.wait(runs.claim(direct(clock)).run, FAULT)
    assert spent() == 0
    again = runs.claim(direct(clock)).run
    assert spent() == 5
    runs.finish(again, DONE)
    assert spent() == 3


def test_a_direct_run_whose_process_crashed_keeps_its_reservation_and_is_not_charged_twice(
    runs: RunStore, clock: HandClock, spent: Spent
) -> None:
    runs.claim(direct(clock))
    clock.advance(LEASE_S)
    run = runs.claim(direct(clock)).run
    assert (run.attempt, spent()) == (2, 5)
    runs.finish(run, DONE)
    assert spent() == 3


def test_a_run_over_the_budget_is_refused_and_gives_back_what_it_reserved(
    runs: RunStore, clock: HandClock, spent: Spent
) -> None:
    runs.claim(direct(clock, "run_1", 6))
    with pytest.raises(BudgetExceeded, match="4 are left and this run may cost 5"):
        runs.claim(direct(clock, "run_2", 5))
    assert spent() == 6
    refused = runs.get("run_2")
    assert refused is not None
    assert (refused.state, refused.outcome) == (RunState.WAITING, None)
    assert runs.claim(direct(clock, "run_3", 4)).won


def test_a_run_that_waits_is_refused_in_the_same_way(runs: RunStore, clock: HandClock, spent: Spent) -> None:
    runs.wait(runs.claim(direct(clock, "run_1", 5)).run, FAULT)
    runs.claim(direct(clock, "run_2", 6))
    with pytest.raises(BudgetExceeded):
        runs.claim(direct(clock, "run_1", 5))
    assert spent() == 6


def test_racers_for_the_last_cents_do_not_overspend(runs: RunStore, clock: HandClock, spent: Spent) -> None:
    def claim(number: int) -> bool:
        try:
            return runs.claim(direct(clock, f"run_{number}", 5)).won
        except BudgetExceeded:
            return False

    runs.claim(direct(clock, "run_0", 5))
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(claim, range(1, 7)))
    assert won.count(True) <= 1
    assert spent() == 5 + 5 * won.count(True)


def test_a_new_day_has_a_new_budget_for_a_run_of_yesterday(runs: RunStore, clock: HandClock, spent: Spent) -> None:
    runs.wait(runs.claim(direct(clock)).run, FAULT)
    clock.advance(86_400)
    runs.finish(runs.claim(direct(clock)).run, DONE)
    assert spent() == 3
    clock.advance(-86_400)
    assert spent() == 0


def test_what_a_crashed_process_reserved_is_given_back_after_two_leases(
    runs: RunStore, clock: HandClock, spent: Spent
) -> None:
    runs.claim(direct(clock))
    clock.advance(2 * LEASE_S - 1)
    assert runs.free_abandoned(10) == 0
    clock.advance(1)
    assert runs.free_abandoned(10) == 1
    assert spent() == 0
    freed = runs.get("run_1")
    assert freed is not None
    assert freed.last_fault is not None
    assert (freed.state, freed.last_fault.code) == (RunState.WAITING, "crashed")
    assert runs.free_abandoned(10) == 0


def test_what_a_living_process_reserved_stays(runs: RunStore, clock: HandClock, spent: Spent) -> None:
    run = runs.claim(direct(clock)).run
    clock.advance(2 * LEASE_S)
    run = runs.renew(run)
    assert runs.free_abandoned(10) == 0
    assert spent() == 5
    clock.advance(2 * LEASE_S)
    assert runs.free_abandoned(10) == 1


@pytest.mark.parametrize("end", ["finish", "wait"])
def test_a_run_that_ended_is_not_abandoned(runs: RunStore, clock: HandClock, spent: Spent, end: str) -> None:
    run = runs.claim(direct(clock)).run
    _ = runs.finish(run, DONE) if end == "finish" else runs.wait(run, FAULT)
    before = spent()
    clock.advance(9 * LEASE_S)
    assert runs.free_abandoned(10) == 0
    assert spent() == before


def test_a_run_that_is_written_while_it_is_freed_is_left_alone(
    runs: RunStore, database: FirestoreClient, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.claim(direct(clock))
    clock.advance(2 * LEASE_S)
    unchanged_since = database.unchanged_since

    def after_a_cancel(update_time: object) -> object:
        runs.request_cancel("run_1")
        return unchanged_since(update_time)

    monkeypatch.setattr(database, "unchanged_since", after_a_cancel)
    assert runs.free_abandoned(10) == 0


def test_a_run_is_parked_until_somebody_claims_it(runs: RunStore, clock: HandClock) -> None:
    runs.park(TASK)
    runs.park(TASK)
    assert runs.parked("light", 10) == ["task_1"]
    assert runs.parked("other", 10) == []
    parked = runs.get("task_1")
    assert parked is not None
    assert not parked.alive(clock.now())
    claim = runs.claim(TASK)
    assert (claim.won, claim.run.attempt) == (True, 1)
    assert runs.parked("light", 10) == []


def test_a_run_that_is_alive_is_not_parked_and_one_that_waits_is(runs: RunStore) -> None:
    run = runs.claim(TASK).run
    runs.park(TASK)
    assert runs.parked("light", 10) == []
    runs.wait(run, FAULT)
    runs.park(TASK)
    assert runs.parked("light", 10) == ["task_1"]


def test_a_fence_ends_a_run_that_nobody_works_on(runs: RunStore, clock: HandClock) -> None:
    assert runs.fence(TASK, LATE).outcome == LATE
    assert not runs.claim(TASK).won
    other = WantedRun("task_2", "light", "")
    runs.claim(other)
    assert runs.fence(other, LATE).outcome is None
    clock.advance(LEASE_S)
    assert runs.fence(other, LATE).outcome == LATE
    assert not runs.claim(other).won


def test_whoever_works_on_a_run_hears_that_it_is_cancelled(runs: RunStore) -> None:
    run = runs.claim(TASK).run
    runs.request_cancel("task_1")
    cancelled = runs.get("task_1")
    assert cancelled is not None
    assert cancelled.cancel_requested
    with pytest.raises(LostRace):
        runs.finish(run, DONE)
    assert runs.finish(cancelled, DONE).outcome == DONE


def test_a_run_that_vanishes_between_two_steps_is_asked_for_again(
    runs: RunStore, database: FirestoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.claim(TASK)
    get = runs.get
    lost: list[str] = []

    def vanish(run_id: str) -> object:
        if not lost:
            lost.append(run_id)
            database.collection("runs").document(run_id).delete()
        return get(run_id)

    monkeypatch.setattr(runs, "get", vanish)
    assert runs.claim(TASK).won
