"""`POST /sweep`: whatever a crash, a lost message or the passing of time left undone is done here.

Every task that has not ended, and every callback that was not delivered, is due at some time. A due task's run tells the
rest: never claimed, in somebody's hands, crashed, waiting, parked or finished.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from agent_mesh.agents.control import AgentControls
from agent_mesh.agents.records import Outcome, RunRecord, RunState
from agent_mesh.agents.runs import RunStore, WantedRun
from agent_mesh.budgets import Budgets
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import SweepReport
from agent_mesh.deadletters.store import DeadLetters
from agent_mesh.dispatch.publishing import TaskPublisher
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.results import Results
from agent_mesh.dispatch.settlement import Arrival
from agent_mesh.dispatch.store import TaskStore
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.firestore import LostRace
from agent_mesh.platform.settings import Settings

_PAGE: Final = 200
_LONGEST_S: Final = 45.0
"""A sweep ends before its caller's deadline; what is left is the next one's."""


@dataclass(frozen=True)
class SweepParts:
    """What the sweep is wired to."""

    tasks: TaskStore
    runs: RunStore
    budgets: Budgets
    controls: AgentControls
    results: Results
    publisher: TaskPublisher
    dead_letters: DeadLetters
    clock: Clock


class Sweep:
    """Looks at everything that is due, once."""

    def __init__(self, settings: Settings, parts: SweepParts) -> None:
        """Take the intervals from `settings`."""
        self._republish_s = settings.republish_seconds
        self._max_attempts = settings.max_attempts
        self._parts = parts
        self._did: Counter[str] = Counter()

    def run(self, wait_s: int) -> SweepReport:
        """Do what is due; with `wait_s` stay that many seconds for tasks that fall due meanwhile."""
        started = time.monotonic()
        self._release_parked()
        self._did["holds_freed"] += self._parts.runs.free_abandoned(_PAGE)
        more = True
        while more and time.monotonic() - started < _LONGEST_S:
            due = self._parts.tasks.due(_PAGE)
            for task in due:
                self._look_at(task)
            more = len(due) == _PAGE or self._waited_for_next(started + wait_s)
        return SweepReport(**self._did, more=more)

    def _waited_for_next(self, until: float) -> bool:
        """Sleep until the next task is due; False if none falls due before `until` (monotonic seconds)."""
        left = until - time.monotonic()
        next_due = self._parts.tasks.next_due() if left > 0 else None
        if next_due is None:
            return False
        pause = max(0.0, next_due.timestamp() - self._parts.clock.now())
        if pause > left:
            return False
        time.sleep(pause)
        return True

    def _look_at(self, task: TaskRecord) -> None:
        try:
            step = self._step(task, self._parts.runs.get(task.task_id) if not task.status.terminal else None)
        except LostRace:  # somebody else moved the task on
            return
        self._did[step] += 1

    def _step(self, task: TaskRecord, run: RunRecord | None) -> str:
        """Move one due task on; return which field of the report counts it."""
        now = self._parts.clock.now()
        if task.status.terminal:
            if not self._parts.results.call_back(task):
                self._parts.tasks.change(task, due_at=None)
            return "callbacks"
        if run and run.outcome:
            return self._arrived(task, run, "settled")
        if run and run.alive(now) and run.lease_until:
            return self._postpone(task, run.lease_until.timestamp() + 1.0)
        if task.ttl <= now:
            return self._end(
                task,
                Outcome.refused(RunStatus.EXPIRED, "ttl_expired", "The ttl passed before the task ran."),
                "expired",
            )
        if run is None and self._over_budget(task):
            refusal = self._parts.budgets.read(task.reservation.budget_id) if task.reservation else None
            detail = refusal.refusal(task.agent, task.reservation.cents).detail if refusal and task.reservation else ""
            return self._end(task, Outcome.refused(RunStatus.REJECTED, "budget_exceeded", detail), "rejected")
        if self._parts.controls.state(task.agent).paused:
            self._parts.runs.park(WantedRun(task.task_id, task.agent, caller=""))
            return self._postpone(task, task.ttl)
        return self._again(task, run, now)

    def _again(self, task: TaskRecord, run: RunRecord | None, now: float) -> str:
        """Publish a task that nobody works on; one whose attempts are used up is dead."""
        if run is None or run.state is RunState.PARKED:
            age = now - max(task.created_at.timestamp(), task.not_before or 0.0)
            return self._republish(task, task.attempt, now + max(self._republish_s, age))
        if run.attempt >= self._max_attempts:
            fault = run.last_fault
            detail = f"{run.attempt} attempts were started and none ended well" + (
                f"; the last: {fault.detail}" if fault else "."
            )
            ended = self._end(
                task, Outcome.refused(RunStatus.DEAD, fault.code if fault else "crashed", detail), "buried"
            )
            self._parts.dead_letters.keep_task(
                task.task_id, task.agent, fault.code if fault else "crashed", detail, run.attempt
            )
            return ended
        if (
            run.state is RunState.WAITING
            and run.started_at
            and now - run.started_at.timestamp() < _longest_backoff(run.attempt)
        ):
            return self._postpone(task, run.started_at.timestamp() + _longest_backoff(run.attempt))
        return self._republish(task, run.attempt + 1, now + self._republish_s)

    def _republish(self, task: TaskRecord, attempt: int, look_again_at: float) -> str:
        """Ask for `attempt`; results of older ones are refused from here on."""
        due_at = moment(min(look_again_at, task.ttl))
        changed = self._parts.tasks.change(task, attempt=attempt, due_at=due_at)
        self._parts.publisher.publish([changed])
        crash_point("sweep.republished")
        return "republished"

    def _end(self, task: TaskRecord, outcome: Outcome, counted_as: str) -> str:
        """End a task for good: first its run, so that it can never start, then the task."""
        run = self._parts.runs.fence(task.task_id, task.agent, outcome)
        crash_point("sweep.fenced")
        if run.outcome is None:
            return "postponed"
        return self._arrived(task, run, counted_as if run.outcome.status is outcome.status else "settled")

    def _arrived(self, task: TaskRecord, run: RunRecord, counted_as: str) -> str:
        if run.outcome:
            self._parts.results.arrive(task.task_id, Arrival(run.outcome, max(run.attempt, task.attempt)), known=task)
        return counted_as

    def _postpone(self, task: TaskRecord, until: float) -> str:
        self._parts.tasks.change(task, due_at=moment(until))
        return "postponed"

    def _over_budget(self, task: TaskRecord) -> bool:
        """Whether a crash cut off this task's refusal.

        While a budget is overdrawn nothing more is admitted, so whatever came after an admitted task and still stands was
        refused or about to be: the task is over the limit exactly if the budget is overdrawn without those.
        """
        if task.reservation is None:
            return False
        state = self._parts.budgets.read(task.reservation.budget_id)
        if not state.overdrawn:
            return False
        before = replace(state, used_cents=state.used_cents - self._parts.tasks.reserved_after(task))
        return before.overdrawn

    def _release_parked(self) -> None:
        for agent in self._parts.controls.releasing():
            self._did["released"] += self.release(agent)

    def release(self, agent: str) -> int:
        """Send on what was parked while `agent` was paused; return how many tasks went."""
        parked = self._parts.runs.parked(agent, _PAGE)
        tasks = [task for task_id in parked if (task := self._parts.tasks.get(task_id)) and not task.status.terminal]
        sent = self._parts.publisher.publish(tasks) if tasks else True
        for task in tasks:
            try:
                self._parts.tasks.change(
                    task, due_at=moment(min(self._parts.clock.now() + self._republish_s, task.ttl))
                )
            except LostRace:
                continue
        if sent and len(parked) < _PAGE:
            self._parts.controls.released(agent)
        return len(tasks)


def _longest_backoff(attempt: int) -> float:
    """Seconds in which Pub/Sub itself delivers a failed attempt again: at most its longest backoff, 10 minutes."""
    return min(600.0, 10.0 * 2.0**attempt)
