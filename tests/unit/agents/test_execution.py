"""One run from request to outcome."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from agent_mesh.agents.admission import Price
from agent_mesh.agents.errors import AgentError, RetryableError, RunCancelled, TerminalError
from agent_mesh.agents.execution import Execution, Ran
from agent_mesh.agents.held_run import Run
from agent_mesh.agents.records import RunRecord, RunState
from agent_mesh.agents.runs import RunStore, WantedRun
from agent_mesh.budgets import Budgets
from agent_mesh.contracts.problems import Busy
from agent_mesh.contracts.runs import RunMessage, RunStatus
from agent_mesh.contracts.values import RESULT_LIMIT_BYTES
from agent_mesh.platform.firestore import FirestoreClient
from tests.conftest import HandClock
from tests.unit.agents.conftest import Work

LEASE_S = 30.0
FIVE_TO_NINE = Price(5, 9)
TASK = WantedRun("task_1", "light", "")


@dataclass
class Runner:
    """An execution in hand; `another` is the same agent in another process."""

    store: RunStore
    clock: HandClock
    work: Work

    def __post_init__(self) -> None:
        self.execution = Execution(self.store, self.clock, FIVE_TO_NINE, self.work)

    def run(self, *, repeatable: bool = True, **limits: Any) -> Ran:
        return self.execution.run(TASK, RunMessage(payload={"n": 1}, **limits), repeatable=repeatable)

    def another(self) -> Runner:
        return Runner(self.store, self.clock, Work())

    def stored(self) -> RunRecord:
        found = self.store.get("task_1")
        assert found is not None
        return found


@pytest.fixture
def lease_s() -> float:
    return LEASE_S


@pytest.fixture
def runner(database: FirestoreClient, clock: HandClock, lease_s: float) -> Runner:
    return Runner(RunStore(database, Budgets(database, 0), clock, lease_s, 30), clock, Work())


def code_of(ran: Ran) -> str:
    assert ran.outcome.error is not None
    return ran.outcome.error.code


def test_a_handler_that_returns_has_succeeded_at_the_agents_price(runner: Runner) -> None:
    ran = runner.run()
    assert (ran.outcome.status, ran.outcome.result_json, ran.outcome.cost_cents) == (
        RunStatus.SUCCEEDED,
        '{"echo":{"n":1}}',
        5,
    )
    assert (ran.attempt, ran.idempotent, ran.retryable) == (1, False, False)
    assert runner.stored().outcome == ran.outcome


def test_a_run_delivered_again_gives_the_stored_outcome_and_runs_no_more(runner: Runner) -> None:
    first = runner.run()
    again = runner.run()
    assert again == Ran(first.outcome, 1, idempotent=True)
    assert len(runner.work.calls) == 1


def test_a_run_that_is_going_on_elsewhere_is_busy(runner: Runner) -> None:
    runner.store.claim(TASK)
    with pytest.raises(Busy, match="Attempt 1") as refused:
        runner.run()
    assert refused.value.retry_after_s == 10
    assert runner.work.calls == []


@pytest.mark.parametrize(
    ("limits", "status", "code"),
    [
        ({"ttl": 1.0}, RunStatus.EXPIRED, "ttl_expired"),
        ({"budget_cents": 8}, RunStatus.REJECTED, "budget_exceeded"),
    ],
    ids=["late", "dear"],
)
def test_a_run_that_may_not_start_never_does(
    runner: Runner, limits: dict[str, Any], status: RunStatus, code: str
) -> None:
    ran = runner.run(**limits)
    assert (ran.outcome.status, code_of(ran), ran.outcome.cost_cents) == (status, code, 0)
    assert runner.work.calls == []
    assert runner.run().outcome == ran.outcome


def test_a_result_is_anything_that_pydantic_can_turn_into_json(runner: Runner) -> None:
    runner.work.returns({"at": datetime(2026, 1, 1, tzinfo=UTC), 1: (2,)})
    assert runner.run().outcome.result_json == '{"at":"2026-01-01T00:00:00Z","1":[2]}'


def test_no_result_is_a_result(runner: Runner) -> None:
    runner.work.returns(None)
    ran = runner.run()
    assert (ran.outcome.status, ran.outcome.result_json) == (RunStatus.SUCCEEDED, "null")


def endless() -> object:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "result",
    [object(), {"a": [math.nan]}, math.inf, b"\xff", "\ud800", endless(), {1: {2: object()}}],
    ids=["object", "nan", "infinity", "bytes", "half a letter", "endless", "deep"],
)
def test_a_result_that_is_not_json_fails_for_good_and_is_charged(runner: Runner, result: object) -> None:
    runner.work.returns(result)
    ran = runner.run()
    assert (ran.outcome.status, code_of(ran), ran.retryable) == (RunStatus.FAILED, "result_not_json", False)
    assert ran.outcome.cost_cents == 5
    assert runner.stored().outcome == ran.outcome


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_a_result_has_a_limit(runner: Runner, extra: int, fits: bool) -> None:
    runner.work.returns("x" * (RESULT_LIMIT_BYTES - 2 + extra))
    ran = runner.run()
    assert (ran.outcome.status is RunStatus.SUCCEEDED) is fits
    if not fits:
        assert (code_of(ran), ran.outcome.cost_cents, ran.retryable) == ("result_too_large", 5, False)


def charging(*cents: int) -> Callable[[object, Run], str]:
    def act(_payload: object, run: Run) -> str:
        for each in cents:
            run.charge(each)
        return "done"

    return act


@pytest.mark.parametrize(("cents", "cost"), [((), 5), ((0,), 0), ((7,), 7), ((4, 5), 9)])
def test_a_run_costs_what_the_handler_charged_else_the_agents_price(
    runner: Runner, cents: tuple[int, ...], cost: int
) -> None:
    runner.work.act = charging(*cents)
    ran = runner.run()
    assert (ran.outcome.status, ran.outcome.cost_cents) == (RunStatus.SUCCEEDED, cost)


def test_a_run_that_charges_more_than_was_declared_fails_and_costs_the_maximum(runner: Runner) -> None:
    runner.work.act = charging(5, 5)
    ran = runner.run()
    assert (ran.outcome.status, code_of(ran)) == (RunStatus.FAILED, "price_above_maximum")
    assert (ran.outcome.cost_cents, ran.outcome.result_json, ran.retryable) == (9, None, False)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (TerminalError("no", code="page_missing"), RunStatus.DEAD, "page_missing"),
        (RunCancelled(), RunStatus.CANCELLED, "cancelled"),
    ],
    ids=["terminal", "cancelled"],
)
def test_an_end_that_is_final_is_stored(runner: Runner, error: AgentError, status: RunStatus, code: str) -> None:
    runner.work.fails_with(error)
    ran = runner.run()
    assert (ran.outcome.status, code_of(ran), ran.retryable) == (status, code, False)
    assert runner.run() == Ran(ran.outcome, 1, idempotent=True)


@pytest.mark.parametrize("error", [RetryableError("not today"), AgentError("not today")], ids=["retryable", "plain"])
def test_a_failure_that_may_pass_waits_for_the_next_attempt(runner: Runner, error: AgentError) -> None:
    runner.work.fails_with(error)
    ran = runner.run()
    assert (ran.outcome.status, ran.retryable, ran.attempt) == (RunStatus.FAILED, True, 1)
    assert runner.stored().state is RunState.WAITING
    assert runner.stored().last_fault == ran.outcome.error
    runner.work.returns("done")
    again = runner.run()
    assert (again.outcome.status, again.attempt, again.idempotent) == (RunStatus.SUCCEEDED, 2, False)


def test_a_failure_that_nobody_will_repeat_is_the_end(runner: Runner) -> None:
    runner.work.fails_with(RetryableError("not today"))
    ran = runner.run(repeatable=False)
    assert (ran.outcome.status, ran.retryable) == (RunStatus.FAILED, False)
    assert ran.outcome.error is not None
    assert ran.outcome.error.retryable
    assert runner.stored().outcome == ran.outcome


def test_whatever_else_a_handler_raises_may_pass_and_tells_nobody_its_text(runner: Runner) -> None:
    runner.work.fails_with(KeyError("the secret is xyzzy"))
    ran = runner.run()
    assert (code_of(ran), ran.retryable) == ("handler_failed", True)
    assert "KeyError" in str(ran.outcome.error)
    assert "xyzzy" not in str(ran.outcome.error)
    assert "xyzzy" not in str(runner.stored())


@pytest.mark.parametrize(("asked", "charged"), [(3, 3), (99, 9), (-5, 0)])
def test_a_failure_costs_what_it_says_within_the_agents_limits(runner: Runner, asked: int, charged: int) -> None:
    runner.work.fails_with(TerminalError("no", cost_cents=asked))
    assert runner.run().outcome.cost_cents == charged


def test_a_handler_that_ends_its_process_leaves_a_lease_that_ends(runner: Runner, clock: HandClock) -> None:
    def leave(_payload: object, _run: object) -> object:
        raise SystemExit(1)

    runner.work.act = leave
    with pytest.raises(SystemExit):
        runner.run()
    with pytest.raises(Busy):
        runner.another().run()
    clock.advance(LEASE_S)
    assert runner.another().run().attempt == 2


def test_a_handler_sees_that_it_was_cancelled_and_stops(runner: Runner, clock: HandClock) -> None:
    steps: list[int] = []

    def work(_payload: object, run: Run) -> object:
        for step in range(10):
            steps.append(step)
            if step == 2:
                runner.store.request_cancel("task_1")
            clock.advance(1)
            run.stop_if_cancelled()
        return "done"

    runner.work.act = work
    ran = runner.run()
    assert (ran.outcome.status, code_of(ran)) == (RunStatus.CANCELLED, "cancelled")
    assert steps == [0, 1, 2]


@pytest.mark.parametrize("end", ["returns", "fails", "dies"])
def test_an_attempt_that_lost_its_lease_is_refused_and_the_newer_outcome_is_the_answer(
    runner: Runner, clock: HandClock, end: str
) -> None:
    newer: list[Ran] = []

    def work(_payload: object, _run: Run) -> object:
        clock.advance(LEASE_S)
        another = runner.another()
        another.work.returns("newer")
        newer.append(another.run())
        if end == "fails":
            raise RetryableError("not today")
        if end == "dies":
            raise TerminalError("never")
        return "older"

    runner.work.act = work
    ran = runner.run()
    assert newer == [Ran(ran.outcome, 2)]
    assert (ran.outcome.result_json, ran.attempt, ran.idempotent) == ('"newer"', 2, True)
    assert runner.stored().outcome == ran.outcome


def test_an_attempt_that_lost_its_lease_to_one_that_still_runs_is_busy(runner: Runner, clock: HandClock) -> None:
    def work(_payload: object, _run: Run) -> object:
        clock.advance(LEASE_S)
        assert runner.store.claim(TASK).won
        return "older"

    runner.work.act = work
    with pytest.raises(Busy, match="Attempt 2"):
        runner.run()
    assert runner.stored().outcome is None


def test_progress_after_the_lease_was_lost_ends_the_older_attempt(runner: Runner, clock: HandClock) -> None:
    def work(_payload: object, run: Run) -> object:
        clock.advance(LEASE_S)
        another = runner.another()
        another.work.returns("newer")
        another.run()
        run.progress("half")
        raise AssertionError("it ended above")

    runner.work.act = work
    assert runner.run().outcome.result_json == '"newer"'


def test_a_run_that_vanished_under_its_handler_is_busy(runner: Runner, database: FirestoreClient) -> None:
    def work(_payload: object, _run: Run) -> object:
        database.collection("runs").document("task_1").delete()
        return "done"

    runner.work.act = work
    with pytest.raises(Busy):
        runner.run()


@pytest.mark.parametrize("lease_s", [0.3])
def test_the_lease_of_a_slow_handler_is_renewed_and_only_while_it_works(
    runner: Runner, clock: HandClock, lease_s: float
) -> None:
    def work(_payload: object, _run: Run) -> object:
        first = runner.stored().lease_until
        clock.advance(lease_s * 0.9)
        end = time.monotonic() + 5
        while runner.stored().lease_until == first and time.monotonic() < end:
            time.sleep(0.02)
        clock.advance(lease_s * 0.9)
        with pytest.raises(Busy):
            runner.another().run()
        return "done"

    runner.work.act = work
    assert runner.run().attempt == 1
    assert runner.execution._leases._due == {}
