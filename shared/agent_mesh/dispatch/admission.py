"""May this task be accepted, and as which document? Pure rules over the request, the agent and the time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agent_mesh.budgets import Reservation, day_budget_id
from agent_mesh.contracts.problems import BudgetExceeded, MeshError, TtlExpired
from agent_mesh.contracts.tasks import CallbackState, DispatchRequest, TaskFault, TaskStatus
from agent_mesh.contracts.values import canonical_json, to_json
from agent_mesh.dispatch.record import TaskRecord, kept_until
from agent_mesh.platform.clock import moment
from agent_mesh.platform.ids import derived_id, fingerprint, random_id

_DURATION_BELOW: Final = 100_000_000.0
"""Unix seconds of 1973: whoever sends less means seconds from now."""


@dataclass(frozen=True)
class Terms:
    """What the rules need to know besides the request. Durations are seconds unless they say days."""

    max_cost_cents: int | None
    republish_s: float
    retention_days: int


def new_task(  # pure: everything that a task is made of
    request: DispatchRequest, caller: str, trace_id: str, now: float, terms: Terms, *, replay_of: str | None = None
) -> TaskRecord:
    """Return the task that a request makes. With an idempotency key its id depends on caller, agent and key alone."""
    task_id = random_id("task")
    if request.idempotency_key is not None:
        task_id = derived_id("task", caller, request.agent, request.idempotency_key)
    most = request.budget_cents if terms.max_cost_cents is None else min(request.budget_cents, terms.max_cost_cents)
    first_look = min(now + terms.republish_s, request.not_before if request.not_before is not None else request.ttl)
    return TaskRecord(
        task_id=task_id,
        agent=request.agent,
        caller=caller,
        mode=request.mode,
        status=TaskStatus.ACCEPTED,
        payload_json=to_json(request.payload),
        fingerprint=fingerprint(request.mode.value, canonical_json(request.payload)),
        ttl=request.ttl,
        not_before=request.not_before,
        budget_cents=request.budget_cents,
        trace_id=request.trace_id or trace_id,
        created_at=moment(now),
        updated_at=moment(now),
        expire_at=kept_until(max(now, request.ttl), terms.retention_days),
        due_at=moment(min(first_look, request.ttl)),
        reservation=Reservation(day_budget_id(request.agent, now), most) if most else None,
        idempotency_key=request.idempotency_key,
        callback_url=request.callback_url,
        callback=CallbackState(status="pending") if request.callback_url else None,
        replay_of=replay_of,
    )


def refusal_of(request: DispatchRequest, now: float, max_cost_cents: int | None) -> MeshError | None:
    """Return why a task cannot be accepted, None if it can."""
    if request.ttl < _DURATION_BELOW:
        return TtlExpired(f"ttl {request.ttl:g} reads like a duration; it is a moment: Unix seconds, now {now:.0f}.")
    if request.ttl <= now:
        return TtlExpired(
            f"ttl {request.ttl:.3f} passed {now - request.ttl:.3f} s ago; send a moment that is still to come."
        )
    if max_cost_cents is not None and max_cost_cents > request.budget_cents:
        price = f"A run of agent {request.agent} may cost {max_cost_cents} cents"
        detail = f"{price}; budgetCents allows {request.budget_cents}."
        return BudgetExceeded(detail)
    return None


def rejected(task: TaskRecord, error: MeshError, now: float) -> TaskRecord:
    """Return the task that a refusal leaves, under an id of its own: the key stays free for a better request."""
    fault = TaskFault(code=error.code, detail=error.detail)
    refused = replace(task, task_id=random_id("task"), reservation=None, callback=None, expire_at=kept_until(now, 7))
    return replace(refused.finished(TaskStatus.REJECTED, now, fault), due_at=None)
