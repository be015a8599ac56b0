"""What a browser needs to check the ledger by itself."""

from __future__ import annotations

from base64 import b64decode

import pytest

from agent_mesh.ledger import (
    leaf_hash,
    open_checkpoint,
    parse_note,
    parse_verifier_key,
    tree_root,
    verifier_key,
    verify_consistency,
    verify_inclusion,
)
from agent_mesh.ledger.reader import LedgerReader
from agent_mesh.ledger.store import LedgerStore
from tests.unit.dashboard.conftest import Browser, DashboardInHand
from tests.unit.dashboard.test_story import SIGNER, append, entry

SIZE = 7


@pytest.fixture
def browser(dashboard: DashboardInHand) -> Browser:
    append(dashboard, *(entry(number, "tx") for number in range(SIZE)))
    return dashboard.viewer()


@pytest.fixture
def leaves(dashboard: DashboardInHand, browser: Browser) -> list[bytes]:
    reader = LedgerReader(LedgerStore(dashboard.parts.database))
    return [leaf_hash(reader.record(index).text.encode()) for index in range(SIZE)]


def proof(browser: Browser, query: str) -> list[bytes]:
    answer = browser.get(f"/api/ledger/proof/{query}")
    assert answer.status_code == 200, answer.text
    return [b64decode(text) for text in answer.get_json()["proof"]]


def test_checkpoint_and_key_are_text_and_belong_together(browser: Browser, leaves: list[bytes]) -> None:
    key = browser.get("/api/ledger/key")
    note = browser.get("/api/ledger/checkpoint")
    assert key.content_type == note.content_type == "text/plain; charset=utf-8"
    assert parse_verifier_key(key.text.removesuffix("\n")) == verifier_key(SIGNER)
    checkpoint = open_checkpoint(parse_note(note.text), verifier_key(SIGNER))
    assert (checkpoint.size, checkpoint.root) == (SIZE, tree_root(leaves))


def test_proofs_lead_to_the_roots(browser: Browser, leaves: list[bytes]) -> None:
    for size in (5, SIZE):
        verify_inclusion(leaves[3], 3, size, proof(browser, f"inclusion?index=3&size={size}"), tree_root(leaves[:size]))
    verify_inclusion(leaves[3], 3, SIZE, proof(browser, "inclusion?index=3"), tree_root(leaves))
    grown = proof(browser, f"consistency?from=3&to={SIZE}")
    verify_consistency(3, SIZE, grown, tree_root(leaves[:3]), tree_root(leaves))
    assert proof(browser, "consistency?from=3") == grown


@pytest.mark.parametrize(
    "query",
    [
        "inclusion",
        "inclusion?index=-1",
        "inclusion?index=7",
        "inclusion?index=0&size=8",
        "inclusion?index=0&size=0",
        "inclusion?index=1e3",
        f"inclusion?index={'9' * 400}",
        "inclusion?index=0&more=1",
        "consistency?from=0&to=7",
        "consistency?from=5&to=3",
        "consistency?to=3",
        f"consistency?from=1&to={2**63}",
    ],
)
def test_a_proof_of_what_never_was_is_a_problem(browser: Browser, query: str) -> None:
    answer = browser.get(f"/api/ledger/proof/{query}")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request")


def test_a_ledger_without_entries_has_no_checkpoint_and_no_key(dashboard: DashboardInHand) -> None:
    for path in ("checkpoint", "key"):
        assert dashboard.viewer().get(f"/api/ledger/{path}").status_code == 404
    assert dashboard.browser().get("/api/ledger/checkpoint").status_code == 401


def test_a_ledger_whose_tiles_are_gone_is_no_defect_of_the_dashboard(
    dashboard: DashboardInHand, browser: Browser
) -> None:
    for document in dashboard.parts.database.collection("ledger").list_documents():
        if document.id.startswith("tile"):
            document.delete()
    for path in ("/api/tx/tx", "/api/ledger/proof/inclusion?index=3"):
        answer = browser.get(path)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
