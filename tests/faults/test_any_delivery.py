"""Whatever is delivered twice, late, in another order or never, and whoever dies in between: the promises hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent_mesh.contracts.problems import BudgetExceeded, Conflict, TtlExpired, Unavailable
from agent_mesh.contracts.runs import RunResult, RunStatus
from agent_mesh.contracts.tasks import ReplayRequest, TaskStatus
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.platform.pubsub import Message
from tests.faults.in_process import (
    AGENT,
    CALLER,
    LEASE_S,
    PRICE,
    Fault,
    Letter,
    PowerCut,
    Step,
    World,
)

pytestmark = pytest.mark.faults
LIMIT_CENTS = 4 * PRICE.maximum
EXAMPLES, STEPS = 30, 25
HALF_PAST_ELEVEN_PM = 55_800.0
"""From the morning on which a world begins: the day's budget ends before the example does."""

TOO_LATE = "too late"
SHORT_S = 45.0
LONG_S = 200_000.0
"""A life that no example outlasts."""

FAULTS = st.one_of(st.none(), st.none(), st.tuples(st.sampled_from(Fault), st.integers(1, 6)))
PLANS = st.lists(st.sampled_from(Step), max_size=4)
DELAYS = st.one_of(st.just(0.0), st.floats(1, 300))
LIVES = st.one_of(st.just(LONG_S), st.floats(400, 1_000))
PICKS = st.integers(0, 10_000)


@dataclass(frozen=True)
class Asked:
    """A dispatch as its caller knows it."""

    n: int
    key: str | None
    options: dict[str, Any]


class AnyDelivery(RuleBasedStateMachine):
    """One agent, a small budget, and no order in anything."""

    def __init__(self) -> None:
        super().__init__()
        self._open = World.running(LIMIT_CENTS)
        self.world = self._open.__enter__()
        self.asked: list[Asked] = []
        self.admitted: set[str] = set()
        self.cancelled_unstarted: dict[str, int] = {}
        self.paused = False
        self.world.clock.time += HALF_PAST_ELEVEN_PM

    @initialize(plans=st.lists(PLANS, min_size=2, max_size=4), keyed=st.booleans(), delay=DELAYS, life=LIVES)
    def begin_with_some(self, plans: list[list[Step]], keyed: bool, delay: float, life: float) -> None:
        for plan in plans:
            self.dispatch(plan, 0.0, LONG_S, keyed, None)
        self.dispatch([], delay, life, keyed, None)
        self.dispatch([], 0.0, SHORT_S, keyed, None)

    @rule(plan=PLANS, delay=DELAYS, life=LIVES, keyed=st.booleans(), fault=FAULTS)
    def dispatch(self, plan: list[Step], delay: float, life: float, keyed: bool, fault: Any) -> None:
        now, n = self.world.clock.time, len(self.asked) + 1
        options: dict[str, Any] = {"ttl": now + life, "not_before": now + delay if delay else None}
        self.world.plans[n] = plan
        self.asked.append(Asked(n, f"key-{n}" if keyed else None, options))
        self._send(self.asked[-1], fault)

    @precondition(lambda self: self.asked)
    @rule(pick=PICKS, fault=FAULTS)
    def repeat_a_dispatch(self, pick: int, fault: Any) -> None:
        keyed = [asked for asked in self.asked if asked.key]
        if keyed:
            self._send(keyed[pick % len(keyed)], fault)

    def _send(self, asked: Asked, fault: Any) -> None:
        self._arm(fault)
        try:
            dispatched = self.world.dispatch(asked.n, idempotency_key=asked.key, **asked.options)
        except (PowerCut, Unavailable, BudgetExceeded, TtlExpired):
            return
        finally:
            self.world.faults.disarm()
        if not dispatched.replayed:
            self.admitted.add(dispatched.task.task_id)
        assert self.world.mesh.tasks.get(dispatched.task.task_id), "a task was accepted that is not there"

    @precondition(lambda self: self.world.post.letters)
    @rule(pick=PICKS, fault=FAULTS)
    def deliver_any_message_again_or_not(self, pick: int, fault: Any) -> None:
        letters = self.world.post.letters
        self._deliver(letters[pick % len(letters)], fault)

    @precondition(lambda self: self.world.post.waiting())
    @rule(count=st.integers(1, 4), backwards=st.booleans(), fault=FAULTS)
    def deliver_waiting_messages(self, count: int, backwards: bool, fault: Any) -> None:
        for letter in self.world.post.waiting()[:: -1 if backwards else 1][:count]:
            self._deliver(letter, fault)

    def _deliver(self, letter: Letter, fault: Any) -> None:
        self._arm(fault)
        self.world.deliver(letter)
        if self.world.faults.disarm() and fault is not None and letter.topic == "tasks":
            self.world.excuses[str(letter.content["taskId"])] += 1

    @precondition(lambda self: self.world.post.waiting())
    @rule(pick=PICKS)
    def lose_a_message(self, pick: int) -> None:
        waiting = [letter for letter in self.world.post.waiting() if letter.topic in {"tasks", "results"}]
        if waiting:
            waiting[pick % len(waiting)].done = True

    @precondition(lambda self: self.admitted)
    @rule(pick=PICKS)
    def hear_of_an_older_attempt(self, pick: int) -> None:
        task = self._any_task(pick)
        late = RunResult(
            task_id=task.task_id,
            status=RunStatus.SUCCEEDED,
            result=TOO_LATE,
            cost_cents=0,
            attempt=task.attempt - 1,
        )
        message = Message(late.model_dump_json(by_alias=True).encode())
        self.world.post.letters.append(Letter("results", message))

    @precondition(lambda self: self.admitted)
    @rule(pick=PICKS, fault=FAULTS)
    def cancel(self, pick: int, fault: Any) -> None:
        task = self._any_task(pick)
        started = self._starts_of(task.task_id)
        self._arm(fault)
        try:
            ended = self.world.call(lambda: self.world.mesh.control.cancel(task, CALLER))
        except (PowerCut, Unavailable, Conflict):
            return
        finally:
            self.world.faults.disarm()
        if ended.status is TaskStatus.CANCELLED:
            self.cancelled_unstarted.setdefault(task.task_id, started)

    @precondition(lambda self: self.admitted)
    @rule(pick=PICKS)
    def replay(self, pick: int) -> None:
        task = self._any_task(pick)
        if task.status.terminal:
            try:
                again = self.world.call(lambda: self.world.mesh.control.replay(task, ReplayRequest(), CALLER))
            except BudgetExceeded:
                return
            self.admitted.add(again.task.task_id)

    @rule(fault=FAULTS)
    def pause_or_resume(self, fault: Any) -> None:
        control = self.world.mesh.control
        self._arm(fault)
        try:
            if self.paused:
                self.world.call(lambda: control.resume(AGENT, CALLER))
                self.world.call(lambda: self.world.mesh.sweep().release(AGENT))
            else:
                self.world.call(lambda: control.pause(AGENT, CALLER))
        except (PowerCut, Unavailable):
            return
        finally:
            self.world.faults.disarm()
            self.paused = self._stored_pause()

    def _stored_pause(self) -> bool:
        fields = self.world.database.collection("agents").document(AGENT).get().to_dict() or {}
        return bool(fields.get("paused"))

    @rule(seconds=st.sampled_from([1.0, 30.0, LEASE_S + 1, 300.0, 700.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.world.clock.time += seconds

    @rule(fault=FAULTS, elsewhere=st.booleans())
    def sweep(self, fault: Any, elsewhere: bool) -> None:
        self._arm(fault)
        self.world.sweep(self.world.other if elsewhere else None)
        self.world.faults.disarm()

    def _arm(self, fault: Any) -> None:
        if fault is not None:
            self.world.faults.arm(*fault)

    def _any_task(self, pick: int) -> TaskRecord:
        tasks = sorted(self.world.tasks().values(), key=lambda task: (task.created_at, task.task_id))
        return tasks[pick % len(tasks)]

    def _starts_of(self, run_id: str) -> int:
        return sum(start.run_id == run_id for start in self.world.starts)

    @invariant()
    def the_promises_hold(self) -> None:
        tasks = self.world.tasks()
        self._what_has_ended_stays(tasks)
        self._every_cent_is_accounted_for(tasks)
        self._nothing_runs_that_must_not(tasks)
        for task_id, task in tasks.items():
            assert task.status is not TaskStatus.SUCCEEDED or _seconds(task.finished_at) < task.ttl, "success after ttl"
            assert task.result_json != f'"{TOO_LATE}"', "a result of an older attempt counted"
            for told in self.world.endings(task_id):
                assert told == task.status.value, f"{task_id} was told to have {told}"

    def _what_has_ended_stays(self, tasks: dict[str, TaskRecord]) -> None:
        for task_id, task in tasks.items():
            if task.status.terminal:
                first = self.world.ended.setdefault(task_id, task)
                now, then = (replace(each, callback=None, due_at=None) for each in (task, first))
                assert now == then, "what had ended changed"
        assert self.world.ended.keys() <= tasks.keys(), "a task that had ended is gone"
        assert self.admitted <= tasks.keys(), "an accepted task is gone"

    def _every_cent_is_accounted_for(self, tasks: dict[str, TaskRecord]) -> None:
        started = {each.id for each in self.world.database.collection("runs").stream()}
        for budget_id, (used, limit) in self.world.budgets().items():
            of_budget = [
                task for task in tasks.values() if task.reservation and task.reservation.budget_id == budget_id
            ]
            assert used == sum(map(_held, of_budget)), "the budget is not the sum of charges and reservations"
            going = [task for task in of_budget if task.task_id in self.admitted | started or task.status.terminal]
            assert sum(map(_held, going)) <= limit, "more was let through than the budget allows"

    def _nothing_runs_that_must_not(self, tasks: dict[str, TaskRecord]) -> None:
        for start in self.world.starts:
            task = tasks[start.run_id]
            assert not start.after_its_end, "it started after it had ended"
            assert (task.not_before or 0.0) <= start.at < task.ttl, "it started outside its time"
        for task_id, starts in self.cancelled_unstarted.items():
            assert (tasks[task_id].status, self._starts_of(task_id)) == (TaskStatus.CANCELLED, starts)
        for run_id, successes in self.world.successes.items():
            assert successes <= 1 + self.world.excuses[run_id], "it succeeded twice without need"

    def teardown(self) -> None:
        try:
            self._come_to_rest()
        finally:
            self._open.__exit__(None, None, None)

    def _come_to_rest(self) -> None:
        """Once everything is delivered and nobody dies any more, nothing is left open, lost or leaked."""
        if self._stored_pause():
            self.world.call(lambda: self.world.mesh.control.resume(AGENT, CALLER))
        self.world.rest(rounds=300)
        self.the_promises_hold()
        tasks = self.world.tasks()
        assert all(task.status.terminal for task in tasks.values())
        assert all(used <= limit for used, limit in self.world.budgets().values())
        for task_id, task in tasks.items():
            code = task.error.code if task.error else None
            assert not (task_id in self.admitted and code == "budget_exceeded"), "an admitted task was refused"
            assert not (task.status is TaskStatus.EXPIRED and _life(task) >= LONG_S), "it was forgotten until its ttl"
            assert task.status is not TaskStatus.DEAD or task_id in self.world.dead_tasks(), (
                "a dead task without letter"
            )


def _held(task: TaskRecord) -> int:
    """Cents that a task takes out of its budget."""
    return task.cost_cents if task.status.terminal or task.reservation is None else task.reservation.cents


def _life(task: TaskRecord) -> float:
    return task.ttl - _seconds(task.created_at)


def _seconds(at: datetime | None) -> float:
    assert at is not None
    return at.timestamp()


def test_the_promises_hold_in_any_order_of_delivery(firestore_emulator: str) -> None:
    run_state_machine_as_test(
        AnyDelivery,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.usefixtures("firestore_emulator")
def test_what_is_delivered_after_its_ttl_never_starts() -> None:
    with World.running() as world:
        task_id = world.dispatch(1, ttl=world.clock.time + SHORT_S).task.task_id
        world.clock.time += SHORT_S
        world.rest()
        task = world.tasks()[task_id]
        assert (task.status, task.cost_cents, world.starts) == (TaskStatus.EXPIRED, 0, [])


@pytest.mark.usefixtures("firestore_emulator")
def test_a_result_that_comes_after_the_ttl_is_charged_and_not_handed_out() -> None:
    with World.running() as world:
        task_id = world.dispatch(1, ttl=world.clock.time + SHORT_S).task.task_id
        world.deliver(world.post.waiting()[0])
        world.clock.time += SHORT_S
        world.rest()
        task = world.tasks()[task_id]
        assert (task.status, task.result_json, task.cost_cents) == (TaskStatus.EXPIRED, None, PRICE.default)
