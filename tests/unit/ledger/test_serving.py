"""What the audit function gives over HTTP: records, receipts, proofs and tiles, to those who may see them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from agent_mesh.ledger import (
    LocalSigner,
    Receipt,
    leaf_hash,
    open_checkpoint,
    parse_note,
    parse_receipt,
    sign_note,
    tree_root,
    verifier_key,
    verify_consistency,
    verify_inclusion,
    verify_receipt,
)
from agent_mesh.ledger.bundles import decode_entries
from agent_mesh.ledger.checkpoints import Checkpoint
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.platform.firestore import FirestoreClient
from tests.conftest import HandClock
from tests.unit.ledger.conftest import CALLER, LOG_NAME, OPERATOR, OTHER, PUSHER, VIEWER, AuditInHand, audit_in_hand

SIZE = 300
LAST = SIZE - 1


@pytest.fixture(scope="module")
def filled(local_cloud: object, tmp_path_factory: pytest.TempPathFactory) -> AuditInHand:
    """Three hundred entries of `tx-0` to `tx-2`, the last hundred by another caller."""
    place = tmp_path_factory.mktemp("filled")
    audit = audit_in_hand(FirestoreClient(f"test-{place.name}-{id(place):x}"), place, HandClock())
    for start, by in ((0, CALLER), (100, CALLER), (200, OTHER)):
        entries = [
            {"tx_id": f"tx-{n % 3}", "event": "e", "actor": "a", "payload": {"n": n, "none": None}}
            for n in range(start, start + 100)
        ]
        assert audit.call("POST", "/audit/batch", {"entries": entries}, by=by).status == 200
    return audit


def hashes(audit: AuditInHand) -> list[bytes]:
    bundles = [audit.get(path).raw for path in ("/tile/entries/000", "/tile/entries/001.p/44")]
    return [leaf_hash(entry) for bundle in bundles for entry in decode_entries(bundle)]


def proof(audit: AuditInHand, query: str) -> list[bytes]:
    return [base64.b64decode(each) for each in audit.get(f"/proof/{query}").json["proof"]]


def test_all_records_of_a_transaction_come_page_by_page_with_receipts(filled: AuditInHand) -> None:
    found: list[dict[str, Any]] = []
    path = "/tx/tx-1?limit=30"
    while True:
        page = filled.get(path).json
        found += page["records"]
        if "next_cursor" not in page:
            break
        path = f"/tx/tx-1?limit=30&cursor={page['next_cursor']}"
    assert [record["index"] for record in found] == list(range(1, SIZE, 3))
    for record in found:
        verified = verify_receipt(Receipt.model_validate(record["receipt"]), filled.key)
        assert (verified.index, verified.entry.id) == (record["index"], record["id"])
        assert json.loads(record["entry"])["payload"] == record["payload"] == {"n": record["index"], "none": None}


def test_records_come_without_receipts_where_none_are_wanted(filled: AuditInHand) -> None:
    page = filled.get("/tx/tx-1?proof=false&limit=200").json
    assert len(page["records"]) == 100
    assert all("receipt" not in record for record in page["records"])


def test_a_transaction_with_a_slash_or_a_quote_in_its_name_is_found(audit: AuditInHand) -> None:
    for name in ("a/b//c", 'x"y\\z', "%2e%2e", "tx?x#y"):
        audit.append(tx_id=name)
        assert audit.get(f"/tx/{quote(name, safe='')}").json["tx_id"] == name


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("/tx/nobody", (404, "not_found")),
        ("/tx/" + "x" * 129, (422, "invalid_request")),
        ("/tx/tx-1?cursor=-1", (422, "invalid_request")),
        ("/tx/tx-1?cursor=" + "9" * 20, (422, "invalid_request")),
        ("/tx/tx-1?cursor=²", (422, "invalid_request")),
        ("/tx/tx-1?limit=0", (422, "invalid_request")),
        ("/tx/tx-1?limit=201", (422, "invalid_request")),
        ("/tx/tx-1?limit=nan", (422, "invalid_request")),
        ("/tx/tx-1?proof=maybe", (422, "invalid_request")),
        ("/tx/tx-1?other=1", (422, "invalid_request")),
        ("/entries/300", (404, "not_found")),
        ("/entries/-1", (422, "invalid_request")),
        ("/entries/1e3", (422, "invalid_request")),
        ("/entries/" + "9" * 400, (422, "invalid_request")),
        ("/proof/inclusion", (422, "invalid_request")),
        ("/proof/inclusion?index=300", (422, "invalid_request")),
        ("/proof/inclusion?index=5&size=5", (422, "invalid_request")),
        ("/proof/inclusion?index=5&size=301", (422, "invalid_request")),
        ("/proof/consistency?from=0&to=300", (422, "invalid_request")),
        ("/proof/consistency?from=0", (422, "invalid_request")),
        ("/proof/consistency?from=5&to=4", (422, "invalid_request")),
        ("/proof/consistency?from=1&to=301", (422, "invalid_request")),
        ("/proof/consistency?older=1", (422, "invalid_request")),
        ("/tile/0/001", (404, "not_found")),
        ("/tile/0/001.p/45", (404, "not_found")),
        ("/tile/entries/001", (404, "not_found")),
        ("/tile/64/000", (422, "invalid_request")),
        ("/tile/0/1", (422, "invalid_request")),
        ("/tile/0/" + "x000/" * 90 + "000", (422, "invalid_request")),
        ("/tile/entries/000.p/256", (422, "invalid_request")),
        ("/tile/%2e%2e/checkpoint", (422, "invalid_request")),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_a_clear_problem(
    filled: AuditInHand, path: str, refusal: tuple[int, str]
) -> None:
    assert filled.get(path).refusal == refusal


def test_an_empty_ledger_has_nothing_to_give(audit: AuditInHand) -> None:
    for path in ("/checkpoint", "/key", "/entries/0", "/tx/x", "/tile/0/000.p/1"):
        assert audit.get(path).refusal == (404, "not_found")
    assert audit.get("/proof/inclusion?index=0").refusal == (422, "invalid_request")


def test_the_checkpoint_is_a_signed_note_and_never_kept_by_a_cache(filled: AuditInHand) -> None:
    answer = filled.get("/checkpoint", by=CALLER)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    checkpoint = open_checkpoint(parse_note(answer.raw.decode()), filled.key)
    assert (checkpoint.size, checkpoint.root) == (SIZE, tree_root(hashes(filled)))


def test_tiles_and_bundles_are_exactly_as_wide_as_asked_for_and_full_ones_are_kept_for_good(
    filled: AuditInHand,
) -> None:
    leaves = hashes(filled)
    for path, wanted in {
        "/tile/0/000": leaves[:256],
        "/tile/0/000.p/7": leaves[:7],
        "/tile/0/001.p/44": leaves[256:],
        "/tile/1/000.p/1": [tree_root(leaves[:256])],
    }.items():
        answer = filled.get(path)
        assert answer.raw == b"".join(wanted)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert ("immutable" in answer.headers["Cache-Control"]) is (".p/" not in path)
    assert len(decode_entries(filled.get("/tile/entries/000.p/100").raw)) == 100


@pytest.mark.parametrize(("index", "size"), [(0, 1), (255, 256), (256, 300), (17, 299)])
def test_inclusion_proofs_verify(filled: AuditInHand, index: int, size: int) -> None:
    leaves = hashes(filled)
    found = proof(filled, f"inclusion?index={index}&size={size}")
    verify_inclusion(leaves[index], index, size, found, tree_root(leaves[:size]))


@pytest.mark.parametrize(("old", "new"), [(1, 300), (256, 257), (255, 300), (300, 300)])
def test_consistency_proofs_verify(filled: AuditInHand, old: int, new: int) -> None:
    leaves = hashes(filled)
    verify_consistency(
        old, new, proof(filled, f"consistency?from={old}&to={new}"), tree_root(leaves[:old]), tree_root(leaves[:new])
    )


def test_callers_see_what_is_theirs_and_viewers_see_all(filled: AuditInHand) -> None:
    def seen(by: str) -> list[int]:
        return [record["index"] for record in filled.get("/tx/tx-0?limit=200", by=by).json["records"]]

    assert seen(OPERATOR) == seen(VIEWER) == list(range(0, SIZE, 3))
    assert seen(CALLER) == list(range(0, 200, 3))
    assert seen(OTHER) == list(range(201, SIZE, 3))
    assert filled.get(f"/entries/{LAST}", by=OTHER).status == 200
    assert filled.get(f"/entries/{LAST}", by=CALLER).refusal == (404, "not_found")


def test_a_page_has_no_more_payloads_than_an_answer_holds(audit: AuditInHand) -> None:
    for number in range(20):
        assert audit.append(tx_id="large", payload={"n": number, "text": "x" * 250_000}).status == 200
    first = audit.get("/tx/large").json
    assert (len(first["records"]), first["next_cursor"]) == (16, "16")
    second = audit.get(f"/tx/large?cursor={first['next_cursor']}").json
    assert [record["index"] for record in second["records"]] == [16, 17, 18, 19]
    assert len(audit.get("/tx/large?proof=false").json["records"]) == 20


def test_a_transaction_of_others_is_not_there_for_a_caller(audit: AuditInHand) -> None:
    audit.append(tx_id="secret")
    assert audit.get("/tx/secret", by=OTHER).refusal == (404, "not_found")


def test_a_page_tells_nothing_of_the_records_of_others_that_it_skips(audit: AuditInHand) -> None:
    for by in (CALLER, CALLER, OTHER, CALLER, OTHER, CALLER):
        audit.append(by, tx_id="shared" if by == OTHER else "secret")
        audit.append(tx_id="shared")
    assert audit.get("/tx/secret?limit=1", by=OTHER).refusal == (404, "not_found")
    pages = [audit.get("/tx/shared?limit=1", by=OTHER).json]
    pages.append(audit.get(f"/tx/shared?limit=1&cursor={pages[0]['next_cursor']}", by=OTHER).json)
    assert [[record["index"] for record in page["records"]] for page in pages] == [[4], [8]]
    assert pages[0]["next_cursor"] == "8"
    assert "next_cursor" not in pages[1]


@pytest.mark.parametrize("path", ["/tile/entries/000", "/tile//entries/000", "/tile/./entries/000"])
def test_bundles_are_not_for_callers(filled: AuditInHand, path: str) -> None:
    assert filled.get("/tile/0/000", by=CALLER).status == 200
    assert filled.get(path, by=CALLER).status in {308, 403, 404, 422}


@pytest.mark.parametrize(
    "path", ["/tx/tx-0", "/entries/0", "/checkpoint", "/key", "/proof/inclusion?index=0", "/tile/0/000"]
)
@pytest.mark.parametrize("by", [None, "stranger@example.com", PUSHER])
def test_strangers_get_nothing(filled: AuditInHand, path: str, by: str | None) -> None:
    assert filled.get(path, by=by).status == (401 if by is None else 403)


class TestForgeries:
    """Whoever has the key is not deceived by what came over HTTP and was changed."""

    @pytest.fixture
    def receipt(self, filled: AuditInHand) -> dict[str, Any]:
        return filled.get("/entries/256").json

    def refused(self, filled: AuditInHand, receipt: dict[str, Any]) -> str:
        with pytest.raises(LedgerError) as refusal:
            verify_receipt(parse_receipt(json.dumps(receipt)), filled.key)
        return refusal.value.code

    def test_a_truncated_longer_or_swapped_proof_is_refused(self, filled: AuditInHand, receipt: dict[str, Any]) -> None:
        hashes = receipt["proof"]
        assert len(hashes) > 2
        for forged in (hashes[:-1], hashes[1:], [], [*hashes, hashes[0]], hashes[::-1]):
            assert self.refused(filled, receipt | {"proof": forged}) == "proof_refused"

    def test_another_entry_or_place_is_refused(self, filled: AuditInHand, receipt: dict[str, Any]) -> None:
        forged = receipt["entry"].replace('"n":256', '"n":255')
        assert self.refused(filled, receipt | {"entry": forged}) == "proof_refused"
        assert self.refused(filled, receipt | {"index": 257}) == "proof_refused"
        assert self.refused(filled, receipt | {"index": SIZE}) == "out_of_range"

    def test_a_checkpoint_of_another_origin_or_key_is_refused(
        self, filled: AuditInHand, receipt: dict[str, Any]
    ) -> None:
        checkpoint = open_checkpoint(parse_note(receipt["checkpoint"]), filled.key)
        forger = LocalSigner(LOG_NAME, bytes(32))
        other = LocalSigner("other.example/log", bytes(32))
        for signer in (forger, other):
            note = sign_note(Checkpoint(signer.name, checkpoint.size, checkpoint.root).text, signer)
            assert self.refused(filled, receipt | {"checkpoint": str(note)}) == "unsigned"
        with pytest.raises(LedgerError):
            verify_receipt(parse_receipt(json.dumps(receipt)), verifier_key(other))

    def test_every_changed_character_of_a_receipts_checkpoint_is_refused(
        self, filled: AuditInHand, receipt: dict[str, Any]
    ) -> None:
        note = receipt["checkpoint"]
        for at in range(len(note)):
            other = "A" if note[at] != "A" else "B"
            self.refused(filled, receipt | {"checkpoint": note[:at] + other + note[at + 1 :]})


def test_two_instances_serve_one_ledger(audit: AuditInHand, tmp_path: Path) -> None:
    other = audit_in_hand(audit.parts.database, tmp_path, audit.clock)
    assert [instance.append().json["index"] for instance in (audit, other, audit, other)] == [0, 1, 2, 3]
    assert other.get("/checkpoint").raw == audit.get("/checkpoint").raw
