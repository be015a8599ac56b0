"""`POST /sweep`: whatever a crash, a lost message or the passing of time left undone is done here.

Every task that has not ended, and every callback that was not delivered, is due at some time. A due task's run tells
the rest: never claimed, in somebody's hands, crashed, waiting, parked or finished.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from agent_mesh.agents.control import AgentControls
from agent_mesh.agents.records import Outcome, RunRecord
from agent_mesh.agents.runs import RunStore
from agent_mesh.budgets import Budgets
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import SweepReport
from agent_mesh.deadletters.store import DeadLetters
from agent_mesh.dispatch.due import Move, Patience, Step, next_move
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
        self._patience = Patience(settings.republish_seconds, settings.max_attempts)
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
        run = None if task.status.terminal else self._parts.runs.get(task.task_id)
        move = next_move(task, run, self._parts.clock.now(), self._patience)
        try:
            counted_as = self._make(move, task, run)
        except LostRace:  # somebody else moved the task on
            return
        self._did[counted_as] += 1

    def _make(self, move: Move, task: TaskRecord, run: RunRecord | None) -> str:
        """Make a move; return which field of the report counts it."""
        refusal = None if run or task.status.terminal else self._refusal_cut_off(task)
        if refusal is not None:
            return self._end(task, refusal, "rejected")
        if move.step is Step.CALL_BACK:
            self._finish_telling(task)
        elif move.step is Step.POSTPONE:
            self._postpone(task, move.until)
        elif move.step is Step.REPUBLISH:
            return self._republish(move, task)
        elif move.step is Step.SETTLE and run is not None:
            self._arrived(task, run)
        elif move.outcome is not None:
            return self._end(task, move.outcome, move.step.value)
        return move.step.value

    def _republish(self, move: Move, task: TaskRecord) -> str:
        """Ask for an attempt; results of earlier ones are refused from here on. A paused agent's task waits."""
        if self._parts.controls.state(task.agent).paused:
            self._parts.runs.park(task.run)
            self._postpone(task, min(move.until, task.ttl))  # what was known of the pause may be old
            return Step.POSTPONE.value
        self._parts.results.tell(task)  # whoever accepted it may have died before the event was out
        changed = self._parts.tasks.change(task, attempt=move.attempt, due_at=moment(min(move.until, task.ttl)))
        self._parts.publisher.publish([changed])
        crash_point("sweep.republished")
        return move.step.value

    def _end(self, task: TaskRecord, outcome: Outcome, counted_as: str) -> str:
        """End a task for good: first its run, so that it can never start, then the task."""
        run = self._parts.runs.fence(task.run, outcome)
        crash_point("sweep.fenced")
        if run.outcome is None:
            return Step.POSTPONE.value
        self._arrived(task, run)
        return counted_as if run.outcome.status is outcome.status else Step.SETTLE.value

    def _arrived(self, task: TaskRecord, run: RunRecord) -> None:
        if run.outcome is None:
            return
        if run.outcome.status is RunStatus.DEAD and run.outcome.error:  # first: an ended task is not looked at again
            error = run.outcome.error
            self._parts.dead_letters.keep_task(task, error.code, error.detail, run.attempt)
        arrival = Arrival(run.outcome, max(run.attempt, task.attempt), nobody_repeats=True)
        self._parts.results.arrive(task.task_id, arrival, known=task)

    def _finish_telling(self, task: TaskRecord) -> None:
        """Make the callback of a task that has ended; before the first, tell its event once more."""
        if task.callback is None or task.callback.attempts == 0:
            self._parts.results.tell_now(task)
        if not self._parts.results.call_back(task):
            self._parts.tasks.change(task, due_at=None)

    def _postpone(self, task: TaskRecord, until: float) -> None:
        self._parts.tasks.change(task, due_at=moment(until))

    def _refusal_cut_off(self, task: TaskRecord) -> Outcome | None:
        """Return the refusal that a crash cut off, if this task's reservation overdraws its budget.

        While a budget is overdrawn nothing more is admitted, so whatever came after an admitted task and still stands
        was refused or about to be: the task is over the limit exactly if the budget is overdrawn without those.
        """
        if task.reservation is None:
            return None
        state = self._parts.budgets.read(task.reservation.budget_id)
        if not state.overdrawn:
            return None
        before = replace(state, used_cents=state.used_cents - self._parts.tasks.reserved_after(task))
        if not before.overdrawn:
            return None
        detail = before.refusal(task.agent, task.reservation.cents).detail
        return Outcome.refused(RunStatus.REJECTED, "budget_exceeded", detail)

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
