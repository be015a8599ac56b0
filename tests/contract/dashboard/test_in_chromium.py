"""The page in a real browser before the whole mesh: somebody signs in, watches, opens a story, and has it proved."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from emulator.stack import LocalStack
from tests.browser.chromium import launched, program
from tests.contract.dashboard.browser import HTTP

pytestmark = pytest.mark.browser
SECONDS = 20_000


@pytest.fixture(scope="module")
def page(stack: LocalStack) -> Iterator[Page]:
    """A browser at the dashboard's door; its console may say nothing but that nobody was signed in."""
    found = program()
    if found is None:
        pytest.skip("browser tests need Chromium on PATH: apt-get install chromium")
    said: list[str] = []
    with sync_playwright() as driver:
        browser = launched(driver, found)
        opened = browser.new_page()
        opened.set_default_timeout(SECONDS)
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto(f"{stack.url('dashboard')}/?kind=task&kind=decision")
        yield opened
        browser.close()
    assert [text for text in said if "status of 401" not in text] == []


def post(stack: LocalStack, role: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    url = stack.url(role)
    headers = {"Authorization": f"Bearer {stack.token(url)}", "Content-Type": "application/json"}
    answer = HTTP.request("POST", url + path, body=json.dumps(body), headers=headers)
    assert answer.status in {200, 202}, answer.data
    return dict(answer.json())


def test_somebody_signs_in_watches_and_has_it_proved(stack: LocalStack, page: Page) -> None:
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name="Continue as").click()
    expect(page.locator("#state-text")).to_have_text("Live", timeout=SECONDS)
    expect(page).to_have_url(f"{stack.url('dashboard')}/?kind=task&kind=decision")

    tx_id = str(uuid4())
    intent = {
        "tx_id": tx_id,
        "subject": {"enterprise": "A", "id": "u123"},
        "resource": {"enterprise": "B", "id": "dataset:finance.q4", "scope": "read"},
        "context": {"session_risk": 71},
    }
    post(stack, "relay", "/publish", {"topic": "access.intent", "payload": intent})
    asked = {"agent": "light", "payload": {}, "ttl": time.time() + 60, "budgetCents": 50, "mode": "pubsub"}
    task_id = post(stack, "orchestrator", "/dispatch", asked)["taskId"]
    ended = page.locator("#rows .row", has_text=task_id).filter(has_text="succeeded")
    expect(ended).to_be_visible(timeout=SECONDS)
    expect(ended.locator(".cost")).to_have_text("5 ¢")

    ended.locator("a").click()
    summary = page.locator("#story .summary")
    expect(summary).to_have_text("3 of 3 ledger entries proved in this browser.", timeout=SECONDS)
    expect(page.locator(".timeline h2")).to_have_text(
        ["The task was accepted", "The agent started", "The agent returned a result", "The task succeeded"]
    )

    page.go_back()
    page.locator("#rows .row", has_text=tx_id).locator("a").click()
    expect(summary).to_have_text("2 of 2 ledger entries proved in this browser.", timeout=SECONDS)
    expect(page.locator(".timeline h2").first).to_have_text("Access was asked for")
    page.get_by_role("button", name="Show rule by rule").click()
    expect(page.locator(".tried li", has_text="session_risk < risk_limit")).to_contain_text("did not hold")

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to watch the mesh")).to_be_visible()
