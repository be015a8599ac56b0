"""One transaction or task, and the proof of it: what is true is proved, what was tampered with is refused loudly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from agent_mesh.contracts.values import JsonObject
from agent_mesh.ledger import LocalSigner
from agent_mesh.ledger.keys import decode_base64, encode_base64
from tests.browser import scenes
from tests.browser.conftest import Opener
from tests.browser.page_server import Answer, PageServer
from tests.browser.small_ledger import ORIGIN, SmallLedger

WITHOUT_ED25519 = """
const known = crypto.subtle.importKey.bind(crypto.subtle);
crypto.subtle.importKey = async (format, key, algorithm, ...rest) => {
    if ((algorithm.name ?? algorithm) === "Ed25519") throw new DOMException("no such algorithm", "NotSupportedError");
    return known(format, key, algorithm, ...rest);
};
"""
WITHOUT_CRYPTOGRAPHY = "Object.defineProperty(Crypto.prototype, 'subtle', { get: () => undefined });"


def steps(page: Page) -> list[str]:
    """Return the titles of the timeline."""
    return [str(text) for text in page.locator(".timeline h2").all_inner_texts()]


def summary(page: Page) -> Any:
    return expect(page.locator("#story .summary"))


def test_a_decision_is_told_with_its_rule_and_proved_in_the_browser(opened: Opener, server: PageServer) -> None:
    scenes.task(server, scenes.TASK, time.time() - 9)
    scenes.access(server, scenes.DENIED, time.time() - 5, allow=False)
    page = opened(f"/tx/{scenes.DENIED}")
    summary(page).to_have_text("2 of 2 ledger entries proved in this browser.")
    assert steps(page) == ["Access was asked for", "Policy decided\ndeny"]
    story = page.locator("#story")
    expect(story.get_by_role("heading", level=1)).to_have_text("Access decisiondeny")
    expect(story).to_contain_text("dataset:finance.q4 · read · enterprise B")
    expect(story).to_contain_text("access.rego#allow")
    page.get_by_role("button", name="Show rule by rule").click()
    expect(story).to_contain_text("Failed at session_risk < risk_limit")
    expect(story.locator("[data-rule=held]")).to_have_count(2)
    page.locator(".proof summary").last.click()
    checks = page.locator(".proof").last.locator(".checks li b")
    expect(checks).to_have_text(["Entry", "Inclusion", "Signature", "Content", "History"])
    expect(page.locator("#trust")).to_contain_text("for the first time")
    page.reload()
    expect(page.locator("#trust")).to_contain_text("has known since")


def test_a_task_is_told_from_its_documents_and_its_events(opened: Opener, server: PageServer) -> None:
    scenes.task(server, scenes.TASK, time.time(), cents=123)
    page = opened(f"/tx/{scenes.TASK}")
    summary(page).to_have_text("3 of 3 ledger entries proved in this browser.")
    titles = ["The task was accepted", "The agent started", "The agent returned a result", "The task succeeded"]
    assert steps(page) == titles
    expect(page.locator("#story .about")).to_contain_text("$1.23")
    assert "succeeded" in page.title()


def test_a_story_goes_on_while_it_is_read(opened: Opener, server: PageServer) -> None:
    server.event("mesh.task.accepted", scenes.TASK, scenes.work())
    server.tamper = lambda answer: answer | {"records": [{**each, "receipt": None} for each in answer["records"]]}
    page = opened(f"/tx/{scenes.TASK}")
    expect(page.locator(".proof")).to_contain_text("In the ledger soon")
    recorded = page.locator(".raw summary")
    recorded.click()
    server.tamper = lambda answer: answer
    server.event("mesh.task.succeeded", scenes.TASK, scenes.work(5))
    summary(page).to_have_text("2 of 2 ledger entries proved in this browser.")
    expect(recorded.first).to_be_focused()
    expect(page.locator(".raw[open]")).to_have_count(1)


def test_what_the_ledger_gets_later_is_shown_when_it_has_grown(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    page = opened(f"/tx/{scenes.ALLOWED}")
    expect(page.get_by_role("heading", name="Nobody knows this id")).to_be_visible()
    expect(page.locator("#state-text")).to_have_text("Live")
    for event in ("mesh.access.requested", "mesh.access.decided"):
        payload: JsonObject = {"source": "/policy", "data": scenes.decision(allow=True)}
        server.ledger.append(scenes.ALLOWED, event, "/policy", "2026-11-20T10:00:00Z", payload)
        scenes.checkpoint(server, time.time(), 1)
        summary(page).to_contain_text(f"{len(server.ledger.entries)} of {len(server.ledger.entries)} ledger")


def of_another_entry(answer: Answer) -> Answer:
    answer["records"][1]["receipt"] = answer["records"][0]["receipt"]
    return answer


def another_outcome(answer: Answer) -> Answer:
    answer["records"][1]["payload"]["data"]["decision"] = "allow"
    return answer


def another_actor(answer: Answer) -> Answer:
    answer["records"][1]["actor"] = "somebody-else@example.com"
    return answer


def another_hash(answer: Answer) -> Answer:
    proof = answer["records"][1]["receipt"]["proof"]
    proof[0] = encode_base64(bytes(byte ^ 1 for byte in decode_base64(proof[0]) or b""))
    return answer


def another_tree(answer: Answer) -> Answer:
    receipt = answer["records"][1]["receipt"]
    origin, size, *rest = receipt["checkpoint"].split("\n")
    receipt["checkpoint"] = "\n".join([origin, str(int(size) + 1), *rest])
    return answer


def the_story_of_another(answer: Answer) -> Answer:
    return {**answer, "records": answer["others"]}


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (of_another_entry, "the entry that is shown is not the one that was proved"),
        (another_outcome, "the payload that is shown is not the one that was proved"),
        (another_actor, "actor that is shown is not the one that was proved"),
        (another_hash, "does not lead to the root that was signed"),
        (another_tree, "was not made by the key"),
        (the_story_of_another, "tx_id that is shown is not the one that was proved"),
    ],
)
def test_a_tampered_proof_is_refused(
    opened: Opener, server: PageServer, tamper: Callable[[Answer], Answer], words: str
) -> None:
    scenes.access(server, scenes.ALLOWED, time.time() - 9, allow=True)
    scenes.access(server, scenes.DENIED, time.time() - 5, allow=False)
    others = server.ledger.records(scenes.ALLOWED)
    server.tamper = lambda answer: tamper(answer | {"others": others})
    page = opened(f"/tx/{scenes.DENIED}")
    summary(page).to_contain_text("Do not rely on this story")
    expect(page.locator(".proof[data-proof=refused]").last).to_contain_text(words)


def test_another_key_is_warned_of_until_somebody_says_that_it_is_right(opened: Opener, server: PageServer) -> None:
    scenes.access(server, scenes.ALLOWED, time.time(), allow=True)
    page = opened(f"/tx/{scenes.ALLOWED}")
    summary(page).to_contain_text("2 of 2")
    server.ledger.signer = LocalSigner(ORIGIN, bytes(32))
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The ledger’s key has changed")
    expect(page.get_by_role("alert")).to_contain_text(server.ledger.key)
    summary(page).to_contain_text("the proof of 2 of 2 ledger entries was refused")
    page.get_by_role("button", name="trust it").click()
    summary(page).to_have_text("2 of 2 ledger entries proved in this browser.")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_ledger_that_was_rewritten_is_found_out(opened: Opener, server: PageServer) -> None:
    scenes.task(server, scenes.TASK, time.time() - 5)
    scenes.access(server, scenes.ALLOWED, time.time(), allow=True)
    page = opened(f"/tx/{scenes.ALLOWED}")
    summary(page).to_contain_text("2 of 2")
    server.ledger = SmallLedger()
    scenes.access(server, scenes.ALLOWED, time.time(), allow=True)
    scenes.failed_task(server, scenes.FAILED_TASK, time.time())
    page.reload()
    summary(page).to_contain_text("the proof of 2 of 2 ledger entries was refused")
    expect(page.locator(".proof").first).to_contain_text("the ledger was rewritten")


@pytest.mark.parametrize(
    ("script", "verdict", "reason"),
    [
        (WITHOUT_ED25519, "Included; the signature could not be checked here", "this browser has no Ed25519"),
        (WITHOUT_CRYPTOGRAPHY, "Not checked", "gives cryptography only to pages of https://"),
    ],
    ids=["without Ed25519", "without cryptography"],
)
def test_a_browser_that_cannot_check_says_so(
    opened: Opener, server: PageServer, script: str, verdict: str, reason: str
) -> None:
    scenes.access(server, scenes.ALLOWED, time.time(), allow=True)
    page = opened(f"/tx/{scenes.ALLOWED}", script=script)
    summary(page).to_have_text("0 of 2 ledger entries proved in this browser.")
    proof = page.locator(".proof").first
    expect(proof).to_contain_text(verdict)
    proof.locator("summary").click()
    expect(proof).to_contain_text(reason)


def test_more_entries_are_fetched_when_they_are_asked_for(opened: Opener, server: PageServer) -> None:
    server.page_size = 2
    for percent in (50, 80, 100):
        scenes.budget(server, time.time() - 1, percent)
    page = opened("/tx/light.20261120")
    summary(page).to_have_text("2 of 2 ledger entries proved in this browser. There are more.")
    page.get_by_role("button", name="Show more entries").click()
    summary(page).to_have_text("3 of 3 ledger entries proved in this browser.")
    scenes.budget(server, time.time(), 100)
    summary(page).to_have_text("4 of 4 ledger entries proved in this browser.")
    expect(page.get_by_role("button", name="Show more entries")).to_have_count(0)


def test_an_unknown_id_and_a_server_that_is_away_have_words(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    page = opened("/tx/nothing-here")
    expect(page.get_by_role("heading", name="Nobody knows this id")).to_be_visible()
    scenes.task(server, "nothing-here", time.time())
    summary(page).to_contain_text("3 of 3")
    page.get_by_role("button", name="Back").click()
    expect(page.locator("#rows .row")).to_have_count(3)
    server.stop()
    page.locator("#rows a").first.click()
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
