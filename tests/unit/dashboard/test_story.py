"""The story of one id: entries with receipts that verify, the task, its run, its dead letter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import JsonValue

from agent_mesh.contracts.tasks import DispatchRequest
from agent_mesh.deadletters.store import DeadLetters
from agent_mesh.dispatch.orchestrator import Orchestrator
from agent_mesh.ledger import AuditEntry, LocalSigner, parse_receipt, verifier_key, verify_receipt
from agent_mesh.ledger.sequencer import Sequencer
from agent_mesh.ledger.store import LedgerStore
from tests.unit.dashboard.conftest import OPERATOR, STRANGER, VIEWER, DashboardInHand

SIGNER = LocalSigner("ledger.example.com/mesh", bytes(32))
PAGE = 50


def entry(number: int, tx_id: str, payload: dict[str, JsonValue] | None = None) -> AuditEntry:
    return AuditEntry(
        id=f"ev-{number}",
        tx_id=tx_id,
        event="mesh.access.decided",
        actor="policy",
        ts="2027-01-15T08:00:00Z",
        payload={"n": number} if payload is None else payload,
    )


def append(board: DashboardInHand, *entries: AuditEntry) -> None:
    Sequencer(LedgerStore(board.parts.database), SIGNER).append(entries)


def story(board: DashboardInHand, tx_id: str, query: str = "") -> dict[str, Any]:
    answer = board.viewer().get(f"/api/tx/{tx_id}{query}")
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def dispatched(board: DashboardInHand) -> str:
    request = DispatchRequest.model_validate(
        {"agent": "light", "payload": {}, "ttl": board.clock.now() + 60, "budgetCents": 10, "mode": "pubsub"}
    )
    parts = board.parts
    settings = parts.settings.model_copy(update={"agent_light_url": "http://127.0.0.1:9"})
    mesh = Orchestrator(
        type(parts)(settings, parts.database, parts.publisher, parts.verifier, parts.events, parts.clock)
    )
    return mesh.dispatcher.dispatch(request, "ann@example.com").task.task_id


def test_every_entry_comes_with_a_receipt_that_verifies(dashboard: DashboardInHand) -> None:
    append(
        dashboard, entry(0, "other"), entry(1, "tx"), entry(2, "tx", {"decision": None, "é": [1, None]}), entry(3, "x")
    )
    told = story(dashboard, "tx")
    assert told["tx_id"] == "tx"
    assert [record["index"] for record in told["records"]] == [1, 2]
    for record in told["records"]:
        verified = verify_receipt(parse_receipt(json.dumps(record["receipt"])), verifier_key(SIGNER))
        assert verified.index == record["index"]
        assert verified.entry.tx_id == "tx"
        assert record["entry"] == record["receipt"]["entry"] == verified.entry.canonical().decode()
        assert record["payload"] == verified.entry.payload
    assert told["records"][1]["payload"] == {"decision": None, "é": [1, None]}
    assert {"task", "run", "dead", "next_index"}.isdisjoint(told)


def test_a_payload_beside_the_ledger_is_told_too(dashboard: DashboardInHand) -> None:
    large: dict[str, JsonValue] = {"text": "x" * 5000}
    append(dashboard, entry(1, "tx", large))
    (record,) = story(dashboard, "tx")["records"]
    assert record["payload"] == large
    assert "payload_digest" in json.loads(record["entry"])
    verify_receipt(parse_receipt(json.dumps(record["receipt"])), verifier_key(SIGNER))


def test_many_entries_come_page_by_page(dashboard: DashboardInHand) -> None:
    append(dashboard, *(entry(number, "tx") for number in range(PAGE + 30)))
    first = story(dashboard, "tx")
    assert len(first["records"]) == PAGE
    rest = story(dashboard, "tx", f"?from_index={first['next_index']}")
    assert [record["index"] for record in first["records"] + rest["records"]] == list(range(PAGE + 30))
    assert "next_index" not in rest


def test_a_task_is_told_as_the_orchestrator_tells_it(dashboard: DashboardInHand) -> None:
    task_id = dispatched(dashboard)
    told = story(dashboard, task_id)
    assert told["records"] == []
    assert told["task"]["taskId"] == task_id
    assert told["task"]["status"] == "accepted"
    assert told["task"]["caller"] == "ann@example.com"
    assert [moment["event"] for moment in told["timeline"]] == ["accepted"]
    assert told["why"]["status"] == "accepted"
    assert "run" not in told


def test_a_dead_letter_is_told_with_its_task(dashboard: DashboardInHand) -> None:
    task_id = dispatched(dashboard)
    letters = DeadLetters(dashboard.parts.database, dashboard.clock, 30)
    task = Orchestrator(dashboard.parts).tasks.get(task_id)
    assert task is not None
    letters.keep_task(task, "handler_failed", "It broke.", 5)
    assert story(dashboard, task_id)["dead"]["reason"] == "handler_failed"


@pytest.mark.parametrize(
    ("tx_id", "status", "code"),
    [
        ("nobody", 404, "not_found"),
        ("task_nobody", 404, "not_found"),
        ("a/b/c", 404, "not_found"),
        ("%3Cscript%3E", 404, "not_found"),
        ("__reserved__", 404, "not_found"),
        (".", 404, "not_found"),
        ("x" * 128, 404, "not_found"),
        ("x" * 129, 422, "invalid_request"),
        ("%C3%A9", 422, "invalid_request"),
        ("%00", 422, "invalid_request"),
        ("a%20b", 422, "invalid_request"),
    ],
)
def test_an_id_that_nobody_knows_is_a_problem(dashboard: DashboardInHand, tx_id: str, status: int, code: str) -> None:
    append(dashboard, entry(1, "tx"))
    answer = dashboard.viewer().get(f"/api/tx/{tx_id}")
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert answer.content_type == "application/problem+json"


def test_stories_are_for_those_who_may_see_the_mesh(dashboard: DashboardInHand) -> None:
    append(dashboard, entry(1, "tx"))
    assert dashboard.browser().get("/api/tx/tx").status_code == 401
    assert dashboard.viewer(VIEWER).get("/api/tx/tx").status_code == 200
    assert dashboard.browser().get("/api/tx/tx", Authorization=dashboard.token(OPERATOR)).status_code == 200
    assert dashboard.browser().get("/api/tx/tx", Authorization=dashboard.token(STRANGER)).status_code == 403


def test_what_an_entry_says_is_json_whatever_it_says(dashboard: DashboardInHand) -> None:
    append(dashboard, entry(1, "tx", {"<script>alert(1)</script>": "</script><img src=x onerror=alert(1)>"}))
    answer = dashboard.viewer().get("/api/tx/tx")
    assert answer.content_type == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
