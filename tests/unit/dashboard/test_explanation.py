"""Why policy decided so, rule by rule, long after it did."""

from __future__ import annotations

import json
from typing import Any

from pydantic import JsonValue

from agent_mesh.contracts.policy import AccessIntent
from agent_mesh.contracts.tasks import DispatchRequest
from agent_mesh.dispatch.orchestrator import Orchestrator
from agent_mesh.ledger import AuditEntry
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.policy import Policy, packaged_bundle
from agent_mesh.policy.evaluation import AccessDecisions
from tests.unit.dashboard.conftest import OPERATOR, STRANGER, DashboardInHand
from tests.unit.dashboard.test_story import append, entry

INTENT: dict[str, JsonValue] = {
    "subject": {"enterprise": "A", "id": "u123"},
    "resource": {"enterprise": "B", "scope": "read"},
    "context": {"session_risk": 72},
}


def decided(board: DashboardInHand, tx_id: str, **changes: JsonValue) -> None:
    """Decide an intent, and put its two events into the ledger as the audit function does."""
    policy = Policy(packaged_bundle("mesh"))
    decisions = AccessDecisions(policy, board.parts.events, board.clock)
    decisions.evaluate(AccessIntent.model_validate({"tx_id": tx_id, **INTENT, **changes}), "ann@example.com")
    policy.close()
    for message in board.publisher.messages.pop("events"):
        event = json.loads(message.data)
        payload: dict[str, JsonValue] = {name: event[name] for name in ("source", "time", "data")}
        append(
            board,
            AuditEntry(
                id=event["id"],
                tx_id=tx_id,
                event=event["type"],
                actor="ann@example.com",
                ts="2027-01-15T08:00:00Z",
                payload=payload,
            ),
        )


def explanation(board: DashboardInHand, tx_id: str) -> dict[str, Any]:
    answer = board.viewer().get(f"/api/tx/{tx_id}/explanation")
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def test_a_denial_names_the_expression_that_failed(dashboard: DashboardInHand) -> None:
    decided(dashboard, "tx-1")
    told = explanation(dashboard, "tx-1")
    assert told["complete"] is True
    assert told["answer"]["decision"] == "deny"
    assert told["answer"]["kind"] == "access"
    failed = [rule for rule in told["rules"] if rule.get("held") is False and "session_risk" in rule.get("failed", "")]
    assert failed, told["rules"]
    assert {"path": "session_risk", "present": True, "value": 72} in failed[0]["looked_at"]


def test_the_newest_decision_of_a_transaction_is_explained(dashboard: DashboardInHand) -> None:
    decided(dashboard, "tx-1")
    decided(dashboard, "tx-1", context={"session_risk": 10})
    assert explanation(dashboard, "tx-1")["answer"]["decision"] == "allow"


def test_a_tasks_decision_is_explained_from_its_own_document(dashboard: DashboardInHand) -> None:
    parts = dashboard.parts
    settings = parts.settings.model_copy(update={"agent_light_url": "http://127.0.0.1:9"})
    wired = FunctionParts(settings, parts.database, parts.publisher, parts.verifier, parts.events, parts.clock)
    request = DispatchRequest.model_validate(
        {"agent": "light", "payload": {}, "ttl": dashboard.clock.now() + 60, "budgetCents": 10, "mode": "pubsub"}
    )
    task = Orchestrator(wired).dispatcher.dispatch(request, OPERATOR).task
    told = explanation(dashboard, task.task_id)
    assert (told["answer"]["kind"], told["answer"]["decision"], told["complete"]) == ("dispatch", "allow", True)
    assert task.policy is not None
    assert told["answer"]["digest"] == task.policy.digest


def test_what_was_not_kept_is_not_explained(dashboard: DashboardInHand) -> None:
    append(dashboard, entry(1, "tx-plain"))
    decided(dashboard, "tx-large", context={"text": "x" * 70_000})
    for tx_id in ("nobody", "tx-plain", "tx-large", "x" * 128, "__reserved__"):
        answer = dashboard.viewer().get(f"/api/tx/{tx_id}/explanation")
        assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


def test_a_forged_decision_in_the_ledger_is_not_explained_as_if_it_were_one(dashboard: DashboardInHand) -> None:
    decided(dashboard, "tx-1")
    forged: dict[str, JsonValue] = {
        "data": {"decision": "allow", "policy_version": packaged_bundle("mesh").version, "digest": "sha256:" + "0" * 64}
    }
    append(dashboard, entry(99, "tx-1", forged))
    assert dashboard.viewer().get("/api/tx/tx-1/explanation").status_code == 404
    strange: dict[str, JsonValue] = {"data": {"policy_version": "../../secret", "digest": "x"}}
    append(dashboard, entry(100, "tx-1", strange))
    assert dashboard.viewer().get("/api/tx/tx-1/explanation").status_code == 404


def test_explanations_are_for_those_who_may_see_the_mesh(dashboard: DashboardInHand) -> None:
    decided(dashboard, "tx-1")
    assert dashboard.browser().get("/api/tx/tx-1/explanation").status_code == 401
    header = dashboard.token(STRANGER)
    assert dashboard.browser().get("/api/tx/tx-1/explanation", Authorization=header).status_code == 403
