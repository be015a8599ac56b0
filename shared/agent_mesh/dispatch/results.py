"""Results: whatever brings a run's outcome to its task goes through `Results.arrive`, and then the caller is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import JsonValue, ValidationError

from agent_mesh.agents.records import Outcome
from agent_mesh.budgets import BudgetState
from agent_mesh.contracts.problems import FieldFault, MalformedRequest
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.runs import RunResult
from agent_mesh.contracts.tasks import CallbackState, Mode
from agent_mesh.contracts.values import result_text
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.settlement import Arrival
from agent_mesh.dispatch.store import Applied, TaskStore
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import LostRace
from agent_mesh.platform.logs import join_trace, log
from agent_mesh.webhooks import Callbacks, DeliveryStatus, next_attempt_at

_REDELIVERED: Final = 2


def read_result(envelope: PushEnvelope) -> tuple[str, Arrival]:
    """Return the task id and the outcome that a push carries; raise `MalformedRequest` for anything else."""
    try:
        result = RunResult.model_validate_json(envelope.message.body())
        text = result_text(result.result)
    except (ValidationError, ValueError) as error:
        faults = [FieldFault(field="message.data", message=str(error).splitlines()[0])]
        detail = "message.data is not a result; it will end in the dead letters."
        raise MalformedRequest(detail, errors=faults) from error
    outcome = Outcome(result.status, text, result.error, result.cost_cents)
    return result.task_id, Arrival(outcome, result.attempt, message_follows=True)


class Results:
    """Settles tasks and tells their callers."""

    def __init__(self, tasks: TaskStore, callbacks: Callbacks, events: EventLog, clock: Clock) -> None:
        """Everything that it settles and tells with is passed in."""
        self._tasks = tasks
        self._callbacks = callbacks
        self._events = events
        self._clock = clock

    def arrive_by_push(self, envelope: PushEnvelope) -> None:
        """Take a result message. A duplicate or late one changes nothing; it may still find a callback to make."""
        join_trace(envelope.message.attributes.get)
        task_id, arrival = read_result(envelope)
        crash_point("result.received")
        applied = self.arrive(task_id, arrival)
        if applied is None:
            log("a result of a task that is not here", task=task_id)
            return
        redelivered = (envelope.delivery_attempt or 1) >= _REDELIVERED
        if not applied.ignored or redelivered or applied.task.mode is Mode.HTTP:
            self.tell_now(applied.task)
        first = applied.task.callback is not None and applied.task.callback.attempts == 0
        self.call_back(applied.task, at_once=first)

    def arrive(self, task_id: str, arrival: Arrival, known: TaskRecord | None = None) -> Applied | None:
        """Let an outcome reach its task; return None if there is no such task."""
        applied = self._tasks.apply(task_id, arrival, known)
        crash_point("result.settled")
        if applied and applied.ignored:
            # Over HTTP the answer has settled the task, and every result message comes after it.
            level = logging.DEBUG if applied.task.mode is Mode.HTTP else logging.INFO
            log("an outcome changes nothing", level=level, task=task_id, reason=applied.ignored)
        elif applied and not arrival.message_follows:
            self.tell(applied.task)
        return applied

    def tell_now(self, task: TaskRecord) -> None:
        """Publish the event of a task's present state; raise `Unavailable` if it cannot be, to be called again."""
        self.tell(task)
        self._events.publish_or_fail()

    def tell(self, task: TaskRecord) -> None:
        """Gather the event of a task's present state."""
        data = {
            "agent": task.agent,
            "caller": task.caller,
            "status": task.status.value,
            "costCents": task.cost_cents,
            "attempt": task.attempt,
            "traceId": task.trace_id,
            "code": task.error.code if task.error else None,
        }
        self._events.emit(f"mesh.task.{task.status.value}", task.task_id, data)

    def tell_accepted(self, tasks: Sequence[TaskRecord], budget: BudgetState | None) -> None:
        """Gather the events of tasks that were accepted in one commit, and of what their budget reached by it."""
        for task in tasks:
            self.tell(task)
        reservations = [task.reservation for task in tasks if task.reservation]
        if budget is None or not reservations:
            return
        for percent in budget.reached(sum(each.cents for each in reservations)):
            data: dict[str, JsonValue] = {
                "agent": tasks[0].agent,
                "percent": percent,
                "usedCents": budget.used_cents,
                "limitCents": budget.limit_cents,
            }
            self._events.emit("mesh.budget.threshold", reservations[0].budget_id, data, once=str(percent))

    def call_back(self, task: TaskRecord, *, at_once: bool = False) -> bool:
        """Make the callback of a finished task if one is due, or at once; return whether an attempt was made."""
        now = self._clock.now()
        due = at_once or (task.due_at is not None and task.due_at <= moment(now))
        if not (task.status.terminal and task.callback_pending and due and task.callback and task.callback_url):
            return False
        body = task.view().model_dump_json(by_alias=True, exclude_none=True, exclude={"callback"})
        ended = task.finished_at.timestamp() if task.finished_at else now
        kind = f"mesh.task.{task.status.value}"
        delivery = self._callbacks.send(task.callback_url, task.task_id, kind, body, occurred_at=ended)
        crash_point("result.called_back")
        state, due_at = _after_attempt(task.callback.attempts + 1, delivery.status, now)
        log("callback", task=task.task_id, status=delivery.status, attempt=state.attempts, reason=delivery.reason)
        try:
            self._tasks.change(task, callback=state, due_at=due_at)
        except LostRace:
            log("another instance made the same callback", task=task.task_id)
        return True


def _after_attempt(attempts: int, status: DeliveryStatus, now: float) -> tuple[CallbackState, datetime | None]:
    if status is DeliveryStatus.DELIVERED:
        return CallbackState(status="delivered", attempts=attempts), None
    again_at = next_attempt_at(attempts, now) if status is DeliveryStatus.RETRY else None
    if again_at is None:
        return CallbackState(status="failed", attempts=attempts), None
    return CallbackState(status="pending", attempts=attempts), moment(again_at)
