"""A task as its document in `tasks` has it, and as the caller sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from agent_mesh.agents.records import RunRecord, RunState
from agent_mesh.agents.runs import WantedRun
from agent_mesh.budgets import Reservation
from agent_mesh.contracts.tasks import CallbackState, Mode, Task, TaskFault, TaskStatus
from agent_mesh.platform.clock import moment, rfc3339


@dataclass(frozen=True)
class TaskRecord:
    """One task. Times are aware UTC, money is cents, payload and result are JSON text; `update_time` is Firestore's."""

    task_id: str
    agent: str
    caller: str
    mode: Mode
    status: TaskStatus
    payload_json: str
    fingerprint: str
    ttl: float
    budget_cents: int
    trace_id: str
    created_at: datetime
    updated_at: datetime
    expire_at: datetime
    due_at: datetime | None = None
    reservation: Reservation | None = None
    cost_cents: int = 0
    attempt: int = 1
    not_before: float | None = None
    idempotency_key: str | None = None
    callback_url: str | None = None
    callback: CallbackState | None = None
    cancel_requested: bool = False
    replay_of: str | None = None
    finished_at: datetime | None = None
    result_json: str | None = None
    error: TaskFault | None = None
    update_time: Any = field(default=None, compare=False)

    @property
    def run(self) -> WantedRun:
        """The run that this task asks its agent for."""
        return WantedRun(self.task_id, self.agent, caller="", attempt=self.attempt, ttl=self.ttl)

    @property
    def callback_pending(self) -> bool:
        """Whether the caller still has to be told."""
        return self.callback is not None and self.callback.status == "pending"

    @property
    def size_bytes(self) -> int:
        """Bytes of the payload as JSON."""
        return len(self.payload_json.encode())

    def finished(
        self,
        status: TaskStatus,
        now: float,
        error: TaskFault | None = None,
        grace_s: float = 0.0,
        *,
        look_again: bool = False,
    ) -> TaskRecord:
        """Return the task in a terminal state without a result.

        After `grace_s` seconds the sweep makes its callback; with `look_again` it looks at it in any case.
        """
        return replace(
            self,
            status=status,
            error=error,
            finished_at=moment(now),
            updated_at=moment(now),
            due_at=moment(now + grace_s) if self.callback_pending or look_again else None,
        )

    def to_document(self) -> dict[str, object]:
        """Return the document's fields."""
        return {
            "agent": self.agent,
            "caller": self.caller,
            "mode": self.mode.value,
            "status": self.status.value,
            "payload": self.payload_json,
            "fingerprint": self.fingerprint,
            "ttl": self.ttl,
            "notBefore": self.not_before,
            "budgetCents": self.budget_cents,
            "budgetId": self.reservation.budget_id if self.reservation else None,
            "reservedCents": self.reservation.cents if self.reservation else 0,
            "costCents": self.cost_cents,
            "traceId": self.trace_id,
            "attempt": self.attempt,
            "idempotencyKey": self.idempotency_key,
            "callbackUrl": self.callback_url,
            "callback": self.callback.model_dump() if self.callback else None,
            "cancelRequested": self.cancel_requested,
            "replayOf": self.replay_of,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "finishedAt": self.finished_at,
            "dueAt": self.due_at,
            "expireAt": self.expire_at,
            "result": self.result_json,
            "error": self.error.model_dump() if self.error else None,
        }

    @classmethod
    def from_document(cls, task_id: str, fields: dict[str, Any], update_time: object) -> TaskRecord:
        """Read a task's document."""
        budget_id = fields.get("budgetId")
        return cls(
            task_id=task_id,
            agent=fields["agent"],
            caller=fields["caller"],
            mode=Mode(fields["mode"]),
            status=TaskStatus(fields["status"]),
            payload_json=fields.get("payload", "{}"),
            fingerprint=fields.get("fingerprint", ""),
            ttl=fields["ttl"],
            budget_cents=fields["budgetCents"],
            trace_id=fields["traceId"],
            created_at=fields["createdAt"],
            updated_at=fields["updatedAt"],
            expire_at=fields["expireAt"],
            due_at=fields.get("dueAt"),
            reservation=Reservation(budget_id, fields.get("reservedCents", 0)) if budget_id else None,
            cost_cents=fields.get("costCents", 0),
            attempt=fields.get("attempt", 1),
            not_before=fields.get("notBefore"),
            idempotency_key=fields.get("idempotencyKey"),
            callback_url=fields.get("callbackUrl"),
            callback=CallbackState.model_validate(fields["callback"]) if fields.get("callback") else None,
            cancel_requested=fields.get("cancelRequested", False),
            replay_of=fields.get("replayOf"),
            finished_at=fields.get("finishedAt"),
            result_json=fields.get("result"),
            error=TaskFault.model_validate(fields["error"]) if fields.get("error") else None,
            update_time=update_time,
        )

    def view(self, run: RunRecord | None = None, now: float = 0.0) -> Task:
        """Return the task as its caller sees it; `run` tells how far a task is that has not ended."""
        return Task(
            task_id=self.task_id,
            status=self.status if self.status.terminal else status_with(run, now),
            trace_id=self.trace_id,
            agent=self.agent,
            mode=self.mode,
            ttl=self.ttl,
            not_before=self.not_before,
            budget_cents=self.budget_cents,
            cost_cents=self.cost_cents,
            attempt=self.attempt,
            idempotency_key=self.idempotency_key,
            caller=self.caller,
            callback_url=self.callback_url,
            callback=self.callback,
            cancel_requested=self.cancel_requested or None,
            replay_of=self.replay_of,
            created_at=rfc3339(self.created_at),
            updated_at=rfc3339(self.updated_at),
            finished_at=rfc3339(self.finished_at) if self.finished_at else None,
            result=json.loads(self.result_json) if self.result_json is not None else None,
            error=self.error,
        )


def status_with(run: RunRecord | None, now: float) -> TaskStatus:
    """Return the state of a task that has not ended, as its run shows it; it is not written twice."""
    if run is None:
        return TaskStatus.ACCEPTED
    if run.state is RunState.FINISHED or run.alive(now):
        return TaskStatus.RUNNING
    return TaskStatus.DELIVERED


def kept_until(now: float, retention_days: int) -> datetime:
    """Return when a task's document may be deleted."""
    return moment(now) + timedelta(days=retention_days)
