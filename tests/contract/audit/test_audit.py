"""What the mesh does is in its ledger, with proof, as anybody with a client sees it."""

from __future__ import annotations

import json
import time
from typing import Any

from agent_mesh.ledger import (
    VerifierKey,
    open_checkpoint,
    parse_note,
    parse_receipt,
    parse_verifier_key,
    verify_receipt,
)
from agent_mesh.ledger.bundles import decode_entries
from tests.contract.mesh import STRANGER, Answer, Mesh, Operation, assert_problem, at_once, eventually, unique


def audit(mesh: Mesh, method: str, path: str, body: object = None, *, email: str = "") -> Answer:
    raw = None if body is None else json.dumps(body).encode()
    return mesh.raw(method, path, raw, role="audit", email=email)


def key(mesh: Mesh) -> VerifierKey:
    return parse_verifier_key(audit(mesh, "GET", "/key").body.decode().strip())


def records(mesh: Mesh, tx_id: str) -> list[dict[str, Any]]:
    answer = audit(mesh, "GET", f"/tx/{tx_id}")
    found: list[dict[str, Any]] = answer.json["records"] if answer.status == 200 else []
    return found


def entry(**changes: object) -> dict[str, object]:
    return {"tx_id": unique(), "event": "decision", "actor": "a", "payload": {"n": 1}} | changes


def test_every_event_of_a_task_is_in_the_ledger_with_its_receipt(mesh: Mesh) -> None:
    request = {"agent": "light", "payload": {"text": "x"}, "ttl": time.time() + 60, "budgetCents": 10}
    task_id = mesh.post("/dispatch", request | {"mode": "pubsub"}).json["taskId"]
    mesh.ended(task_id)
    wanted = {"mesh.task.accepted", "mesh.run.succeeded", "mesh.task.succeeded"}
    found = eventually(lambda: [each for each in [records(mesh, task_id)] if wanted <= {one["event"] for one in each}])
    for record in found[0]:
        verified = verify_receipt(parse_receipt(json.dumps(record["receipt"])), key(mesh))
        assert (verified.index, verified.entry.tx_id) == (record["index"], task_id)
        assert verified.entry.recorded_by == mesh.pushers[mesh.stack.url("audit") + "/pubsub/events"]
    accepted = next(record for record in found[0] if record["event"] == "mesh.task.accepted")
    assert (accepted["actor"], accepted["payload"]["source"]) == (mesh.developer, "/orchestrator")


def test_callers_at_the_same_time_share_commits_and_each_gets_its_own_receipt(mesh: Mesh) -> None:
    answers = at_once(24, lambda number: audit(mesh, "POST", "/audit", entry(payload={"n": number})).json)
    assert len({answer["index"] for answer in answers}) == 24
    sizes = set()
    for number, answer in enumerate(answers):
        verified = verify_receipt(parse_receipt(json.dumps(answer["proof"])), key(mesh))
        assert verified.entry.payload == {"n": number}
        sizes.add(verified.checkpoint.size)
    assert len(sizes) < 12


def test_the_tiles_lead_to_the_checkpoint(mesh: Mesh) -> None:
    audit(mesh, "POST", "/audit", entry())
    checkpoint = open_checkpoint(parse_note(audit(mesh, "GET", "/checkpoint").body.decode()), key(mesh))
    width = min(256, checkpoint.size)
    partial = "" if width == 256 else f".p/{width}"
    bundle = audit(mesh, "GET", f"/tile/entries/000{partial}")
    assert len(decode_entries(bundle.body)) == width
    assert len(audit(mesh, "GET", f"/tile/0/000{partial}").body) == width * 32
    assert audit(mesh, "POST", "/fsck", {}).json["findings"] == []


def test_the_schedule_keeps_the_ledger_alive(mesh: Mesh) -> None:
    found = eventually(lambda: records(mesh, "mesh.ledger.heartbeat"))
    assert len(found) <= 2, "a half hour has one heartbeat, however often the schedule calls"
    assert found[0]["recorded_by"].startswith("schedule-heartbeat@")


def test_a_caller_sees_what_it_handed_in_and_nothing_else(mesh: Mesh) -> None:
    caller = f"agent-light@{mesh.stack.project}.iam.gserviceaccount.com"
    theirs, ours = entry(), entry()
    appended = audit(mesh, "POST", "/audit", theirs, email=caller)
    assert appended.status == 200
    audit(mesh, "POST", "/audit", ours)
    assert audit(mesh, "GET", f"/tx/{theirs['tx_id']}", email=caller).status == 200
    assert audit(mesh, "GET", f"/tx/{ours['tx_id']}", email=caller).refusal == (404, "not_found")
    assert audit(mesh, "GET", "/tile/entries/000.p/1", email=caller).refusal == (403, "forbidden")
    assert audit(mesh, "POST", "/fsck", {}, email=caller).refusal == (403, "forbidden")


def operations(mesh: Mesh) -> list[Operation]:
    found = [one for one in mesh.operations("audit") if one.template not in {"/health", "/healthz"}]
    assert len(found) >= 13
    return found


def test_without_a_token_or_as_a_stranger_nobody_gets_in(mesh: Mesh) -> None:
    token = mesh.stack.token(mesh.stack.url("audit"), STRANGER)
    for one in operations(mesh):
        path = one.template.translate(str.maketrans("{}", "xx"))
        body = b"{}" if one.has_body else None
        for headers, status in (({}, 401), ({"Authorization": f"Bearer {token}"}, 403)):
            answer = mesh.request(one.method, path, role="audit", body=body, **headers)
            assert answer.status == status, one
            assert_problem(answer)


def test_nothing_answers_500_to_bad_input(mesh: Mesh) -> None:
    junk = ["%00", "..", "%2e%2e%2f", "-1", "9" * 40, "%ff", "x" * 300, "%F0%9F%98%80", "0x1", "%0a"]
    named = [one.template for one in operations(mesh) if "{" in one.template]
    paths = [template.partition("{")[0] + word for template in named for word in junk]
    for query in ("/proof/inclusion?index=0&size=", "/proof/consistency?from=1&to=", "/tx/x?cursor=", "/tx/x?limit="):
        paths += [query + word for word in junk]
    for path in paths:
        answer = mesh.raw("GET", path, None, role="audit")
        assert answer.status < 500, (path, answer)
    for one in operations(mesh):
        if one.has_body:
            assert mesh.raw(one.method, one.path, b'{"a":', role="audit").refusal == (400, "malformed_request")
