"""A run: one task's turn at an agent, as its document in `runs` has it, and what may follow from each state."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from agent_mesh.budgets import Reservation
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.platform.clock import moment

PROGRESS_LIMIT: Final = 100


class RunState(StrEnum):
    """Where a run stands. `finished` never changes again."""

    RUNNING = "running"
    WAITING = "waiting"
    """The last attempt failed and may be repeated."""
    PARKED = "parked"
    """It was delivered while the agent was paused."""
    FINISHED = "finished"


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `result_json` is JSON text, so that it comes back byte for byte."""

    status: RunStatus
    result_json: str | None = None
    error: TaskFault | None = None
    cost_cents: int = 0

    @classmethod
    def refused(cls, status: RunStatus, code: str, detail: str) -> Outcome:
        """Return the outcome of a run that never started."""
        return cls(status, error=TaskFault(code=code, detail=detail))


@dataclass(frozen=True)
class Progress:
    """What a handler said about how far it is."""

    at: datetime
    message: str
    percent: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """One run. Times are aware UTC, money is cents; `update_time` is Firestore's, the fence of the next write."""

    run_id: str
    agent: str
    caller: str
    state: RunState
    attempt: int
    lease_until: datetime | None
    started_at: datetime | None
    finished_at: datetime | None = None
    outcome: Outcome | None = None
    progress: tuple[Progress, ...] = ()
    cancel_requested: bool = False
    fingerprint: str = ""
    reservation: Reservation | None = None
    last_fault: TaskFault | None = None
    update_time: Any = field(default=None, compare=False)

    def alive(self, now: float) -> bool:
        """Return whether somebody is working on it: running, with a lease that has not ended."""
        return self.state is RunState.RUNNING and self.lease_until is not None and self.lease_until > moment(now)


def outcome_fields(outcome: Outcome, now: float) -> dict[str, object]:
    """Return the fields that finish a run."""
    return {
        "state": RunState.FINISHED.value,
        "status": outcome.status.value,
        "result": outcome.result_json,
        "error": outcome.error.model_dump() if outcome.error else None,
        "costCents": outcome.cost_cents,
        "finishedAt": moment(now),
        "leaseUntil": None,
        "dueAt": None,
    }


def progress_fields(progress: Progress) -> dict[str, object]:
    """Return one progress report as it stands in a run's document."""
    return {"at": progress.at, "message": progress.message, "percent": progress.percent}


def record_from(run_id: str, fields: dict[str, Any], update_time: object) -> RunRecord:
    """Read a run's document."""
    state = RunState(fields["state"])
    outcome = None
    if state is RunState.FINISHED:
        outcome = Outcome(
            RunStatus(fields["status"]), fields.get("result"), _fault(fields.get("error")), fields.get("costCents", 0)
        )
    budget_id = fields.get("budgetId")
    return RunRecord(
        run_id=run_id,
        agent=fields["agent"],
        caller=fields.get("caller", ""),
        state=state,
        attempt=fields["attempt"],
        lease_until=fields.get("leaseUntil"),
        started_at=fields.get("startedAt"),
        finished_at=fields.get("finishedAt"),
        outcome=outcome,
        progress=tuple(Progress(**entry) for entry in fields.get("progress", ())),
        cancel_requested=fields.get("cancelRequested", False),
        fingerprint=fields.get("fingerprint", ""),
        reservation=Reservation(budget_id, fields.get("reservedCents", 0)) if budget_id else None,
        last_fault=_fault(fields.get("lastFault")),
        update_time=update_time,
    )


def _fault(fields: dict[str, Any] | None) -> TaskFault | None:
    return TaskFault.model_validate(fields) if fields else None
