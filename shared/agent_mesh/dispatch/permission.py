"""What policy is asked about a task, and the mark that its decision leaves there.

Everything that the rules see stands in the task's document, so that the decision can be made again.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import JsonValue

from agent_mesh.contracts.problems import PolicyDenied, Unavailable
from agent_mesh.contracts.tasks import PolicyMark
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.policy import DISPATCH, Decision
from agent_mesh.policy.active import ActivePolicy


def asked_about(task: TaskRecord, groups: list[str]) -> dict[str, JsonValue]:
    """Return the input of kind `dispatch`; `now` and `ttl` are Unix seconds, `now` with whole milliseconds."""
    return {
        "subject": {"id": task.caller, "groups": list(groups)},
        "resource": {"agent": task.agent, "mode": task.mode.value},
        "context": {"budget_cents": task.budget_cents, "ttl": task.ttl, "now": task.created_at.timestamp()},
    }


def decided(task: TaskRecord, groups: list[str], policy: ActivePolicy) -> tuple[TaskRecord, PolicyDenied | None]:
    """Return the task with the mark of its decision, and the refusal if it is a denial.

    Raises `Unavailable` if it is not known which policy is in force, or if the rules took too long: a caller may ask
    again, and a task that was rejected stays so.
    """
    decision = policy.decide(DISPATCH, asked_about(task, groups))
    if decision.out_of_time:
        raise Unavailable(decision.explanation, retry_after_s=1)
    marked = replace(task, policy=_mark(decision, groups))
    return marked, None if decision.allow else PolicyDenied(decision.explanation)


def _mark(decision: Decision, groups: list[str]) -> PolicyMark:
    return PolicyMark(
        ref=decision.policy_ref,
        version=decision.policy_version,
        digest=decision.digest,
        groups=groups,
        reasons=list(decision.reasons) or None,
    )
