"""What a due task needs next. Pure: the task, its run and the time decide."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent_mesh.agents.records import Outcome, RunRecord, RunState
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.dispatch.record import TaskRecord

_LONGEST_BACKOFF_S: Final = 600.0
"""Pub/Sub's own longest pause before it delivers again."""


class Step(StrEnum):
    """What the sweep does with a due task; the value is the field of its report that counts it."""

    CALL_BACK = "callbacks"
    SETTLE = "settled"
    EXPIRE = "expired"
    BURY = "buried"
    REPUBLISH = "republished"
    POSTPONE = "postponed"


@dataclass(frozen=True)
class Move:
    """A step, with what it needs: the next look (Unix seconds), the attempt to ask for, or the outcome to end with."""

    step: Step
    until: float = 0.0
    attempt: int = 0
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Patience:
    """How long the sweep waits before it publishes again, in seconds, and how many attempts a task has."""

    republish_s: float
    max_attempts: int


def next_move(task: TaskRecord, run: RunRecord | None, now: float, patience: Patience) -> Move:
    """Return what a due task needs. `now` is Unix seconds."""
    if task.status.terminal:
        return Move(Step.CALL_BACK)
    if run is not None and run.outcome is not None:
        return Move(Step.SETTLE, outcome=run.outcome)
    if run is not None and run.lease_until is not None and run.alive(now):
        return Move(Step.POSTPONE, until=run.lease_until.timestamp() + 1.0)
    return _nobody_works_on(task, run, now, patience)


def _nobody_works_on(task: TaskRecord, run: RunRecord | None, now: float, patience: Patience) -> Move:
    if task.ttl <= now:
        outcome = Outcome.refused(RunStatus.EXPIRED, "ttl_expired", "The ttl passed before the task ran to its end.")
        return Move(Step.EXPIRE, outcome=outcome)
    if run is None and task.not_before is not None and now < task.not_before:
        return Move(Step.POSTPONE, until=task.not_before)
    if run is None or run.state is RunState.PARKED:
        waited = now - max(task.created_at.timestamp(), task.not_before or 0.0)
        return Move(Step.REPUBLISH, now + max(patience.republish_s, waited), task.attempt)
    if run.attempt >= patience.max_attempts:
        return Move(Step.BURY, outcome=_worn_out(run))
    return _after_a_failure(run, now, patience)


def _after_a_failure(run: RunRecord, now: float, patience: Patience) -> Move:
    """Leave a failed attempt to Pub/Sub while it may be backing off; a crashed one is started again."""
    if run.state is RunState.WAITING and run.started_at is not None:
        backed_off = run.started_at.timestamp() + min(_LONGEST_BACKOFF_S, 10.0 * 2.0**run.attempt)
        if now < backed_off:
            return Move(Step.POSTPONE, until=backed_off)
    return Move(Step.REPUBLISH, now + patience.republish_s, run.attempt + 1)


def _worn_out(run: RunRecord) -> Outcome:
    last = f" The last: {run.last_fault.detail}" if run.last_fault else ""
    detail = f"{run.attempt} attempts were started and none ended well.{last}"
    return Outcome.refused(RunStatus.DEAD, run.last_fault.code if run.last_fault else "crashed", detail)
