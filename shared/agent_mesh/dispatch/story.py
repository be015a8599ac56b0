"""A task's story, told from its own document and its run's: the timeline, and the explanation in words.

Nothing is stored for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from agent_mesh.agents.records import RunRecord, RunState
from agent_mesh.contracts.tasks import Explanation, TaskStatus, Timeline, TimelineEntry
from agent_mesh.dispatch.permission import asked_about
from agent_mesh.dispatch.record import TaskRecord, status_with
from agent_mesh.platform.clock import moment, rfc3339


def timeline(task: TaskRecord, run: RunRecord | None, now: float) -> Timeline:
    """Return what happened so far, oldest first. `now` is Unix seconds."""
    entries = [*_beginning(task), *(_run_entries(run) if run else ()), *_ending(task)]
    entries.sort(key=lambda entry: entry[0])
    status = task.status if task.status.terminal else status_with(run, now)
    return Timeline(task_id=task.task_id, status=status, events=[entry for _, entry in entries])


_Dated = tuple[datetime, TimelineEntry]


def _entry(
    at: datetime, event: str, detail: str = "", *, attempt: int | None = None, percent: float | None = None
) -> _Dated:
    return at, TimelineEntry(at=rfc3339(at), event=event, detail=detail, attempt=attempt, percent=percent)


def _beginning(task: TaskRecord) -> list[_Dated]:
    origin = f"replay of {task.replay_of}" if task.replay_of else f"by {task.caller}"
    entries = [_entry(task.created_at, "accepted" if task.status is not TaskStatus.REJECTED else "received", origin)]
    if task.not_before is not None:
        entries.append(_entry(task.created_at, "scheduled", f"not before {rfc3339(moment(task.not_before))}"))
    return entries


def _run_entries(run: RunRecord) -> list[_Dated]:
    entries: list[_Dated] = []
    if run.started_at and run.state is RunState.PARKED:
        entries.append(_entry(run.started_at, "parked", f"agent {run.agent} is paused"))
    elif run.started_at and run.attempt > 0:
        entries.append(_entry(run.started_at, "claimed", f"agent {run.agent} started", attempt=run.attempt))
    entries += [
        _entry(each.at, "progress", each.message, attempt=run.attempt, percent=each.percent) for each in run.progress
    ]
    if run.last_fault and run.started_at:
        entries.append(_entry(run.started_at, "attempt_failed", run.last_fault.detail, attempt=run.attempt))
    if run.finished_at and run.outcome and run.attempt > 0:
        cents = run.outcome.cost_cents
        cost = f"{run.outcome.status.value}, {cents} cent{'' if cents == 1 else 's'}"
        entries.append(_entry(run.finished_at, "finished", cost, attempt=run.attempt))
    return entries


def _ending(task: TaskRecord) -> list[_Dated]:
    entries: list[_Dated] = []
    if task.cancel_requested:
        entries.append(_entry(task.updated_at, "cancel_requested"))
    if task.finished_at:
        entries.append(_entry(task.finished_at, task.status.value, task.error.detail if task.error else ""))
    if task.callback and task.callback.status != "pending":
        entries.append(
            _entry(task.updated_at, f"callback_{task.callback.status}", f"{task.callback.attempts} attempts")
        )
    return entries


@dataclass(frozen=True)
class _Words:
    summary: str
    next: str


_ENDED = {
    TaskStatus.SUCCEEDED: _Words("The agent ran it and returned a result.", "Nothing: it has ended."),
    TaskStatus.FAILED: _Words("The agent ran it and it failed.", "Nothing by itself; replay makes a new task of it."),
    TaskStatus.EXPIRED: _Words("Its time to live passed first.", "Nothing by itself; replay gives it a new ttl."),
    TaskStatus.CANCELLED: _Words("Somebody cancelled it.", "Nothing: it will never run."),
    TaskStatus.REJECTED: _Words("It was refused before it ran.", "Nothing: mend the reason and dispatch again."),
    TaskStatus.DEAD: _Words(
        "It failed for good and lies with the dead letters.", "Nothing by itself; replay sends it again."
    ),
}


def explain(task: TaskRecord, run: RunRecord | None, now: float, *, paused: bool) -> Explanation:
    """Return why a task is where it is, and what will happen next."""
    status = task.status if task.status.terminal else status_with(run, now)
    words = _ENDED.get(status) or _under_way(task, run, now, paused=paused)
    facts: dict[str, JsonValue] = {
        "agent": task.agent,
        "agentPaused": paused,
        "ttlLeftSeconds": round(task.ttl - now, 3),
        "reservedCents": task.reservation.cents if task.reservation else 0,
        "budget": task.reservation.budget_id if task.reservation else None,
        "costCents": task.cost_cents,
        "attempt": max(task.attempt, run.attempt if run else 0),
        "runState": run.state.value if run and not task.status.terminal else None,
        "leaseUntil": rfc3339(run.lease_until) if run and run.lease_until else None,
        "looksAgainAt": rfc3339(task.due_at) if task.due_at else None,
        "policy": task.policy.model_dump(exclude_none=True) if task.policy else None,
        "policyInput": dict(asked_about(task, task.policy.groups)) if task.policy else None,
    }
    return Explanation(
        task_id=task.task_id,
        status=status,
        summary=words.summary,
        reasons=_reasons(task, run),
        next=words.next,
        facts=facts,
    )


def _under_way(task: TaskRecord, run: RunRecord | None, now: float, *, paused: bool) -> _Words:
    if task.cancel_requested:
        return _Words(
            "It runs, and its handler was asked to stop.",
            "It ends as cancelled if the handler stops, else by its result.",
        )
    if run is not None and (run.alive(now) or run.state is RunState.FINISHED):
        return _Words(
            "Its agent is working on it.",
            "Its result settles it; if the process dies, it starts again after the lease.",
        )
    if paused:
        return _Words("Its agent is paused.", "It is sent on when the agent resumes, or expires at its ttl.")
    if run is not None:
        return _Words("An attempt ended without a result.", "It is delivered again until its attempts are used up.")
    if task.not_before is not None and task.not_before > now:
        return _Words("It is scheduled for later.", f"It is published at {rfc3339(moment(task.not_before))}.")
    return _Words(
        "It is on its way to its agent.", "The agent claims it; if nobody does, the sweep publishes it again."
    )


def _reasons(task: TaskRecord, run: RunRecord | None) -> list[str]:
    reasons = []
    if task.policy and not task.policy.reasons:
        reasons.append(f"{task.policy.ref} of policy {task.policy.version} allowed it")
    if task.error:
        reasons.append(f"{task.error.code}: {task.error.detail}")
    if run and run.last_fault:
        reasons.append(f"last attempt: {run.last_fault.code}: {run.last_fault.detail}")
    if task.reservation and not task.status.terminal:
        reasons.append(f"{task.reservation.cents} cents are reserved in budget {task.reservation.budget_id}")
    if task.replay_of:
        reasons.append(f"it repeats task {task.replay_of}")
    return reasons
