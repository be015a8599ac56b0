"""`POST /dispatch`: admit, reserve and store in one commit, send on, and for HTTP callers wait for the result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent_mesh.agents.control import AgentControls
from agent_mesh.agents.records import Outcome
from agent_mesh.agents.runs import RunStore
from agent_mesh.contracts.problems import AgentPaused, AgentUnknown, IdempotencyConflict, MeshError, Unavailable
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import DispatchRequest, Mode, TaskFault
from agent_mesh.dispatch.admission import Terms, new_task, refusal_of, rejected
from agent_mesh.dispatch.http_runner import AgentUnreachable, HttpRunner, RunElsewhere
from agent_mesh.dispatch.permission import decided
from agent_mesh.dispatch.publishing import TaskPublisher
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.results import Results
from agent_mesh.dispatch.settlement import Arrival
from agent_mesh.dispatch.store import TaskStore
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.firestore import Exists, LostRace
from agent_mesh.platform.logs import current_trace
from agent_mesh.platform.settings import AgentAddress, Settings
from agent_mesh.platform.trace import new_trace
from agent_mesh.policy.active import ActivePolicy
from agent_mesh.policy.subjects import groups_of
from agent_mesh.webhooks import Callbacks

_FIRST_LOOK_S: Final = 0.01
_LONGEST_LOOK_S: Final = 0.5


@dataclass(frozen=True)
class Dispatched:
    """The task that a request came to; `replayed` is true where an earlier request with the same key made it."""

    task: TaskRecord
    replayed: bool = False


@dataclass(frozen=True)
class Admitted:
    """A task that may be stored, and where its agent is; or `first`, the task that has its key already."""

    task: TaskRecord
    address: AgentAddress
    first: TaskRecord | None = None


@dataclass(frozen=True)
class Parts:
    """What the dispatcher is wired to."""

    tasks: TaskStore
    runs: RunStore
    controls: AgentControls
    results: Results
    publisher: TaskPublisher
    runner: HttpRunner
    callbacks: Callbacks
    policy: ActivePolicy
    clock: Clock


class Dispatcher:
    """Accepts tasks."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        """Know the agents from `settings`."""
        self._settings = settings
        self._parts = parts

    def dispatch(self, request: DispatchRequest, caller: str, *, replay_of: str | None = None) -> Dispatched:
        """Accept one task and see it on its way. Raises the refusal, whose `task_id` names the rejected task."""
        admitted = self.admit(request, caller, replay_of=replay_of)
        crash_point("dispatch.before_accept")
        dispatched = self.accept_one(admitted.task, admitted.first)
        if dispatched.replayed:
            return Dispatched(self._wait_if_http(dispatched.task), replayed=True)
        crash_point("dispatch.accepted")
        if request.mode is Mode.HTTP:
            return Dispatched(self._run_over_http(dispatched.task, admitted.address))
        self.send_on([dispatched.task])
        crash_point("dispatch.published")
        return dispatched

    def admit(self, request: DispatchRequest, caller: str, *, replay_of: str | None = None) -> Admitted:
        """Return the task to store and where its agent is; raise the refusal if it may not be accepted.

        A repeat is answered with the first task even where a first request would be refused by now.
        """
        now = self._parts.clock.now()
        self._parts.callbacks.check(request.callback_url)
        address = self._settings.agent(request.agent)
        terms = Terms(
            address.max_cost_cents if address else None, self._settings.republish_seconds, self._settings.retention_days
        )
        trace = current_trace.get() or new_trace()
        task = new_task(request, caller, trace.trace_id, now, terms, replay_of=replay_of)
        if address is None:
            known = ", ".join(sorted(self._settings.agents)) or "none"
            raise self._refuse(task, AgentUnknown(f"No agent is called {request.agent}; known are: {known}."))
        task, refusal = self._judged(task, refusal_of(request, now, terms.max_cost_cents))
        if refusal is None:
            return Admitted(task, address)
        first = self._parts.tasks.get(task.task_id) if task.idempotency_key is not None else None
        if first is not None:
            return Admitted(task, address, first)
        raise refusal if isinstance(refusal, Unavailable) else self._refuse(task, refusal)

    def _judged(self, task: TaskRecord, refusal: MeshError | None) -> tuple[TaskRecord, MeshError | None]:
        """Return the task with the mark of policy's decision, and why it may not be accepted, None if it may."""
        if refusal is not None:
            return task, refusal
        try:
            task, refusal = decided(task, groups_of(task.caller, self._settings), self._parts.policy)
        except Unavailable as undecided:
            return task, undecided
        if refusal is None and task.mode is Mode.HTTP and self._parts.controls.state(task.agent).paused:
            refusal = AgentPaused(f"Agent {task.agent} is paused; dispatch with mode pubsub to queue the task.")
        return task, refusal

    def _refuse(self, task: TaskRecord, error: MeshError) -> MeshError:
        refused = rejected(task, error, self._parts.clock.now())
        self._parts.tasks.add_rejected(refused)
        self._parts.results.tell(refused)
        error.task_id = refused.task_id
        return error

    def accept_one(self, task: TaskRecord, first: TaskRecord | None = None) -> Dispatched:
        """Store the task and reserve its budget; or find the task that has its key; or raise `BudgetExceeded`.

        Where `first` is known to have the key, nothing is stored whatever becomes of that one meanwhile.
        """
        if first is not None:
            return Dispatched(_same(first, task), replayed=True)
        while True:
            try:
                (accepted,), budget = self._parts.tasks.accept([task])
            except Exists:
                first = self._parts.tasks.get(task.task_id)
                if first is None:  # it was withdrawn in between
                    continue
                return Dispatched(_same(first, task), replayed=True)
            if budget is not None and budget.overdrawn and accepted.reservation is not None:
                crash_point("dispatch.over_budget")
                return self._withdraw(accepted, budget.refusal(task.agent, accepted.reservation.cents))
            self._parts.results.tell_accepted([accepted], budget)
            return Dispatched(accepted)

    def accept_together(self, tasks: list[TaskRecord]) -> list[TaskRecord] | None:
        """Store tasks of one budget in one commit; None if they have to be looked at one by one."""
        try:
            accepted, budget = self._parts.tasks.accept(tasks)
        except Exists:
            return None
        if budget is not None and budget.overdrawn:
            self._parts.tasks.undo(accepted)
            return None
        self._parts.results.tell_accepted(accepted, budget)
        return accepted

    def _withdraw(self, accepted: TaskRecord, refusal: MeshError) -> Dispatched:
        refused = rejected(accepted, refusal, self._parts.clock.now())
        try:
            self._parts.tasks.withdraw(accepted, refused)
        except LostRace:
            standing = self._parts.tasks.get(accepted.task_id)
            if standing is not None:  # the sweep found room for it meanwhile and took it up, or will refuse it
                return Dispatched(standing, replayed=True)
        self._parts.results.tell(refused)
        refusal.task_id = refused.task_id
        raise refusal

    def _wait_if_http(self, first: TaskRecord) -> TaskRecord:
        return self._wait(first) if first.mode is Mode.HTTP and not first.status.terminal else first

    def send_on(self, tasks: list[TaskRecord]) -> None:
        """Publish what may run now; park what its paused agent has to wait for. Delayed tasks stay for the sweep."""
        now = self._parts.clock.now()
        ready = [task for task in tasks if task.not_before is None or task.not_before <= now]
        going = []
        for task in ready:
            if self._parts.controls.state(task.agent).paused:
                self._parts.runs.park(task.run)
            else:
                going.append(task)
        if going:
            self._parts.publisher.publish(going)

    def _run_over_http(self, task: TaskRecord, address: AgentAddress) -> TaskRecord:
        parts = self._parts
        try:
            arrival = parts.runner.run(task, address, parts.clock.now())
        except RunElsewhere:
            return self._wait(task)
        except AgentUnreachable as error:
            fault = TaskFault(code="agent_unreachable", detail=str(error), retryable=True)
            run = parts.runs.fence(task.run, Outcome(RunStatus.FAILED, error=fault))
            if run.outcome is None:
                return self._wait(task)
            arrival = Arrival(run.outcome, max(run.attempt, task.attempt))
        crash_point("dispatch.ran_over_http")
        applied = parts.results.arrive(task.task_id, arrival, known=task)
        return applied.task if applied else task

    def _wait(self, task: TaskRecord) -> TaskRecord:
        """Look at the task until it has ended or the caller has waited long enough."""
        for pause in self._looks(task.ttl):
            time.sleep(pause)
            task = self._parts.tasks.get(task.task_id) or task
            if task.status.terminal:
                break
        return task

    def _looks(self, ttl: float) -> Iterator[float]:
        """Yield pauses in seconds that grow, until shortly after the ttl or the longest wait."""
        started = self._parts.clock.now()
        until = min(started + self._settings.http_wait_seconds, ttl + self._settings.republish_seconds)
        pause = _FIRST_LOOK_S
        while moment(self._parts.clock.now()) < moment(until):
            yield pause
            pause = min(_LONGEST_LOOK_S, pause * 1.5)


def _same(first: TaskRecord, task: TaskRecord) -> TaskRecord:
    """Return the task that has the key already, if it was made by the same request."""
    if first.fingerprint == task.fingerprint:
        return first
    detail = "This idempotencyKey was used with another payload or mode; send a new key with a new request."
    raise IdempotencyConflict(detail, task_id=first.task_id)
