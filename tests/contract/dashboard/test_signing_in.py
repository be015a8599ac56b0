"""The dashboard as it is served: a person signs in, and sees an intent decided, told, and proved."""

from __future__ import annotations

import json
import time
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import urllib3

from agent_mesh.ledger import parse_receipt, parse_verifier_key, verify_receipt
from emulator.oidc.keys import SigningKey
from emulator.stack import LocalStack
from tests.contract.dashboard.browser import HTTP, Browser
from tests.contract.tokens import attacks, valid_claims

SAMPLE: Final[dict[str, Any]] = {
    "subject": {"enterprise": "A", "id": "u123", "roles": ["fin_analyst"]},
    "resource": {"enterprise": "B", "id": "dataset:finance.q4", "scope": "read"},
    "context": {"device": "compliant", "geo": "US", "session_risk": 42},
}


def publish(stack: LocalStack, **changes: Any) -> str:
    tx_id = str(uuid4())
    body = json.dumps({"topic": "access.intent", "payload": {"tx_id": tx_id, **SAMPLE, **changes}})
    headers = {"Authorization": f"Bearer {stack.token(stack.url('relay'))}", "Content-Type": "application/json"}
    answer = HTTP.request("POST", stack.url("relay") + "/publish", body=body, headers=headers)
    assert answer.status == 200, answer.data
    return tx_id


def story(browser: Browser, tx_id: str, records: int) -> dict[str, Any]:
    """Wait until the ledger has so many records of a transaction."""
    deadline = time.monotonic() + 20
    while True:
        status, told = browser.get(f"/api/tx/{tx_id}")
        if status == 200 and len(told["records"]) >= records:
            return dict(told)
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def recorded(told: dict[str, Any]) -> dict[str, Any]:
    """The decision, as the ledger has it."""
    (record,) = [each for each in told["records"] if each["event"] == "mesh.access.decided"]
    return dict(record["payload"]["data"])


def heard(answer: urllib3.BaseHTTPResponse, tx_id: str, kind: str) -> dict[str, Any]:
    """Read a stream until it tells of this kind of event about this transaction."""
    waiting = b""
    for piece in answer.stream(1024):
        waiting += piece
        *blocks, waiting = waiting.split(b"\n\n")
        for block in blocks:
            for line in block.split(b"\n"):
                message = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
                if message.get("topic") == kind and message["payload"]["subject"] == tx_id:
                    return dict(message)
    raise AssertionError("the stream ended before")


def test_a_person_signs_in_and_sees_an_intent_decided_told_and_proved(stack: LocalStack, browser: Browser) -> None:
    assert browser.get("/api/session")[0] == 401
    assert browser.sign_in(next="/tx/nothing", prompt="none") == f"{browser.origin}/tx/nothing"
    assert browser.get("/api/session")[1]["email"] == stack.developer
    stream = browser.watch("topic=mesh.**&topic=access.intent")
    assert (stream.status, stream.headers["Content-Type"]) == (200, "text/event-stream")
    tx_id = publish(stack)
    decision = heard(stream, tx_id, "mesh.access.decided")["payload"]["data"]
    stream.close()
    assert decision["decision"] == "allow"
    assert decision["obligations"] == {"timebox": 3600}

    told = story(browser, tx_id, 2)
    assert {record["event"] for record in told["records"]} == {"mesh.access.requested", "mesh.access.decided"}
    key = parse_verifier_key(browser.get("/api/ledger/key")[1].decode().strip())
    for record in told["records"]:
        verified = verify_receipt(parse_receipt(json.dumps(record["receipt"])), key)
        assert verified.entry.tx_id == tx_id
    assert recorded(told)["digest"] == decision["digest"]

    status, explained = browser.get(f"/api/tx/{tx_id}/explanation")
    assert status == 200, explained
    assert explained["answer"]["digest"] == decision["digest"]
    assert explained["complete"] is True


def test_a_viewer_sees_a_denial_and_the_rule_that_failed(stack: LocalStack, browser: Browser) -> None:
    browser.sign_in(prompt="none", login_hint="vera@example.com")
    assert browser.get("/api/session")[1]["groups"] == ["viewers"]
    tx_id = publish(stack, context={"session_risk": 72})
    assert recorded(story(browser, tx_id, 2))["decision"] == "deny"
    rules = browser.get(f"/api/tx/{tx_id}/explanation")[1]["rules"]
    assert any("session_risk" in rule.get("failed", "") for rule in rules)


def test_a_stranger_is_told_so_and_gets_no_session(browser: Browser) -> None:
    end = browser.sign_in(prompt="none", login_hint="sam@example.com")
    assert urlsplit(end).path == "/auth/callback"
    assert not [name for name in browser.cookies if "session" in name]
    assert browser.get("/api/session")[0] == 401


def test_signing_out_ends_it(browser: Browser) -> None:
    browser.sign_in(prompt="none")
    assert browser.ask("POST", f"{browser.origin}/auth/logout", Origin="http://evil.example").status == 403
    assert browser.ask("POST", f"{browser.origin}/auth/logout", Origin=browser.origin).status == 303
    assert browser.get("/api/session")[0] == 401


@pytest.mark.parametrize("path", ["/", "/tx/anything", "/static/main.js", "/static/icon.svg"])
def test_the_page_and_its_files_come_without_signing_in(browser: Browser, path: str) -> None:
    answer = browser.ask("GET", browser.origin + path)
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    known = browser.ask("GET", browser.origin + path, If_None_Match=answer.headers["ETag"])
    assert (known.status, known.data) == (304, b"")


@pytest.mark.parametrize("path", ["/static/%2e%2e/routes.py", "/static/..%2fdashboard.py", "/static//etc/passwd", "/x"])
def test_nothing_else_comes(browser: Browser, path: str) -> None:
    assert browser.ask("GET", browser.origin + path).status in {308, 404}


def test_many_streams_leave_room_for_everything_else(browser: Browser) -> None:
    browser.sign_in(prompt="none")
    streams = [browser.watch("topic=nothing.here") for _ in range(40)]
    began = time.monotonic()
    assert browser.get("/api/session")[0] == 200
    assert time.monotonic() - began < 5
    for stream in streams:
        stream.close()


def test_a_head_request_for_a_stream_ends(browser: Browser) -> None:
    browser.sign_in(prompt="none")
    answer = browser.ask("HEAD", f"{browser.origin}/api/stream?topic=a")
    assert (answer.status, answer.data) == (200, b"")


PAGES: Final = {"/", "/tx/{tx_id}", "/static/{name}", "/auth/login", "/auth/callback", "/auth/logout"}
OPEN: Final = PAGES | {"/health", "/healthz"}


def test_only_pages_are_open_and_no_forged_token_opens_the_rest(stack: LocalStack, browser: Browser) -> None:
    document = browser.get("/openapi.json")[1]
    operations = [(path, method) for path, methods in document["paths"].items() for method in methods]
    assert {path for path, method in operations if not document["paths"][path][method].get("security")} == OPEN
    guarded = [path.replace("{tx_id}", "nothing") for path, _ in operations if path not in OPEN]
    key = SigningKey.load_or_create(stack.logs.parent / "oidc-key.pem")
    claims = valid_claims(stack.issuer.url, browser.origin, stack.developer)
    forged = attacks(key, claims)
    for path in guarded:
        assert browser.get(path)[0] == 401, path
    for name, header in forged.items():
        assert browser.get(guarded[0], Authorization=header)[0] == 401, name
    assert browser.get(guarded[0], Authorization=f"Bearer {key.sign(claims)}")[0] == 200
