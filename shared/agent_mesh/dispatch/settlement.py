"""What a result makes of its task. Pure: the first terminal result counts, later and older ones change nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agent_mesh.agents.records import Outcome
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import TaskFault, TaskStatus
from agent_mesh.dispatch.record import TaskRecord

TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    status: frozenset() if status.terminal else frozenset(each for each in TaskStatus if each.terminal)
    for status in TaskStatus
}
"""What may follow each stored state. `delivered` and `running` are derived from the run and never stored."""

_GRACE_S: Final = 30.0
"""So many seconds the sweep leaves the callback to whoever takes the result message."""

_LOOK_AGAIN_S: Final = 2.0
"""So many seconds whoever settled a task has for telling its event, before the sweep does."""


@dataclass(frozen=True)
class Arrival:
    """A run's outcome as it reaches the orchestrator: by message, by HTTP answer, or found by the sweep."""

    outcome: Outcome
    attempt: int
    message_follows: bool = False
    """A result message brings it or will bring it: the call that takes that tells the event and makes the callback."""
    nobody_repeats: bool = False
    """Whoever brings it comes only once. The sweep looks at the task again, for its event may not have gone out."""


def ignored_because(task: TaskRecord, arrival: Arrival) -> str | None:
    """Return why an outcome changes nothing, None if it counts."""
    if TaskStatus(arrival.outcome.status.value) not in TRANSITIONS[task.status]:
        return f"the task is {task.status.value} already"
    if arrival.attempt < task.attempt:
        return f"it is of attempt {arrival.attempt} and attempt {task.attempt} was asked for"
    return None


def settled(task: TaskRecord, arrival: Arrival, now: float) -> TaskRecord:
    """Return the task as the outcome leaves it. `now` is Unix seconds.

    A success that arrives after the ttl is not handed out: its caller was promised that nothing comes after. It is
    charged all the same, for the run took place. A charge never passes what was reserved: it would overspend the
    budget.
    """
    outcome = arrival.outcome
    status, error, result = TaskStatus(outcome.status.value), outcome.error, outcome.result_json
    if outcome.status is RunStatus.SUCCEEDED and task.ttl <= now:
        status, result = TaskStatus.EXPIRED, None
        error = TaskFault(code="ttl_expired", detail=f"The result arrived {now - task.ttl:.3f} s after the ttl.")
    grace_s = _LOOK_AGAIN_S if arrival.nobody_repeats else _GRACE_S if arrival.message_follows else 0.0
    done = task.finished(status, now, error, grace_s, look_again=arrival.nobody_repeats)
    cost = min(outcome.cost_cents, task.reservation.cents if task.reservation else 0)
    return replace(done, result_json=result, cost_cents=cost, attempt=max(task.attempt, arrival.attempt))
