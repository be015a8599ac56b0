"""What happens in a mesh while somebody watches: the same scenes for tests and for the screenshots in `docs/`."""

from __future__ import annotations

from typing import Final

from agent_mesh.contracts.values import JsonObject
from tests.browser.page_server import PageServer

ALLOWED: Final = "8f0c2f8e-5a1f-4d55-9d5e-0f4f6d1c2a11"
DENIED: Final = "3b9a1c64-7c1e-4a68-8a57-5a2f0f6a9c02"
TASK: Final = "task_7Qm2xV9cLr41"
FAILED_TASK: Final = "task_h3Zk8PwN0d72"
CALLER: Final = "developer@example.com"


def intent(user: str = "u123", risk: int = 42, scope: str = "read") -> JsonObject:
    """Return an access intent."""
    return {
        "subject": {"enterprise": "A", "id": user, "roles": ["fin_analyst"]},
        "resource": {"enterprise": "B", "id": "dataset:finance.q4", "scope": scope},
        "context": {"device": "compliant", "geo": "US", "session_risk": risk},
    }


def decision(*, allow: bool, risk: float = 37, reasons: tuple[str, ...] = ()) -> JsonObject:
    """Return the data of a decision's event."""
    return {
        "decision": "allow" if allow else "deny",
        "reasons": list(reasons),
        "obligations": {"timebox": 3600} if allow else {},
        "risk_after": risk,
        "explanation": "allowed by access.rego#allow"
        if allow
        else f"denied by access.rego#allow: {', '.join(reasons)}",
        "policy_ref": "access.rego#allow",
        "policy_version": "sha256:" + "4c1d" * 16,
        "digest": "sha256:" + "9e07" * 16,
    }


def work(cents: int = 0, *, agent: str = "light", attempt: int = 1, code: str | None = None) -> JsonObject:
    """Return the data of a task's event."""
    return {"agent": agent, "caller": CALLER, "costCents": cents, "attempt": attempt, "traceId": "t", "code": code}


def access(server: PageServer, tx_id: str, at: float, *, allow: bool) -> None:
    """Let somebody ask for access and policy decide."""
    asked = intent(risk=42 if allow else 71)
    server.publish("access.intent", {"tx_id": tx_id, **asked}, ts=at)
    server.event("mesh.access.requested", tx_id, asked, at=at + 0.021)
    reasons = () if allow else ("session_risk_too_high",)
    decided = decision(allow=allow, risk=37 if allow else 71, reasons=reasons)
    server.event("mesh.access.decided", tx_id, decided, at=at + 0.024)
    server.explanations[tx_id] = explanation(allow=allow)


def task(server: PageServer, task_id: str, at: float, *, agent: str = "light", cents: int = 5) -> None:
    """Let a task be dispatched, run and settled."""
    server.event("mesh.task.accepted", task_id, work(agent=agent), at=at)
    server.event("mesh.run.succeeded", task_id, {"agent": agent, "costCents": cents, "attempt": 1}, at=at + 0.31)
    server.event("mesh.task.succeeded", task_id, work(cents, agent=agent), at=at + 0.34)
    server.answers[task_id] = {
        "task": {
            "taskId": task_id,
            "status": "succeeded",
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
            "agent": agent,
            "mode": "pubsub",
            "budgetCents": 50,
            "costCents": cents,
            "caller": CALLER,
            "createdAt": server.ledger.entries[-3].ts,
            "finishedAt": server.ledger.entries[-1].ts,
            "result": {"ok": True},
        },
        "timeline": [
            {"at": server.ledger.entries[-3].ts, "event": "accepted", "detail": f"by {CALLER}"},
            {"at": server.ledger.entries[-3].ts, "event": "claimed", "detail": f"agent {agent} started", "attempt": 1},
            {"at": server.ledger.entries[-1].ts, "event": "succeeded", "detail": ""},
        ],
        "why": {"summary": "The agent ran it and returned a result.", "reasons": [], "next": "Nothing: it has ended."},
    }


def failed_task(server: PageServer, task_id: str, at: float) -> None:
    """Let a task fail for good after a retry."""
    server.event("mesh.task.accepted", task_id, work(agent="summarizer"), at=at)
    run: JsonObject = {"agent": "summarizer", "costCents": 2, "attempt": 1}
    server.event("mesh.run.retrying", task_id, run, at=at + 0.2)
    server.event("mesh.run.dead", task_id, run | {"attempt": 2}, at=at + 1.4)
    dead = work(4, agent="summarizer", attempt=2, code="terminal_error")
    server.event("mesh.task.dead", task_id, dead, at=at + 1.43)


def checkpoint(server: PageServer, at: float, added: int) -> None:
    """Let the ledger tell of its growth."""
    size = len(server.ledger.leaves)
    data: JsonObject = {"size": size, "root": "q83vEjRWeJCr", "entries": added, "origin": server.ledger.signer.name}
    server.event("mesh.ledger.checkpoint", server.ledger.signer.name, data, at=at, keep=False)


def budget(server: PageServer, at: float, percent: int, agent: str = "light") -> None:
    """Let an agent's budget reach a threshold."""
    data: JsonObject = {"agent": agent, "percent": percent, "usedCents": 50 * percent, "limitCents": 5000}
    server.event("mesh.budget.threshold", f"{agent}.20261120", data, at=at)


def explanation(*, allow: bool) -> dict[str, object]:
    """Return what policy says of its rules, for the scenes' decisions."""
    low = {"rule": "access.rego#at_low_risk", "line": 35, "kind": "rule", "held": allow, "failed": None}
    if not allow:
        low["failed"] = "session_risk < risk_limit"
    rules = [
        {"rule": "access.rego#session_risk", "line": 9, "kind": "rule", "held": True, "failed": None, "looked_at": []},
        low | {"looked_at": [{"path": "session_risk", "present": True, "value": 42 if allow else 71}]},
        {
            "rule": "access.rego#from_enterprise_a",
            "line": 29,
            "kind": "rule",
            "held": True,
            "failed": None,
            "looked_at": [{"path": "input.subject.enterprise", "present": True, "value": "A"}],
        },
    ]
    return {"answer": {"decision": "allow" if allow else "deny"}, "rules": rules, "complete": True}
