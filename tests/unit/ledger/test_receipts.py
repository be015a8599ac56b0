"""A receipt proves its entry offline, and no other receipt that can be made from it proves anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agent_mesh.ledger import (
    AuditEntry,
    Checkpoint,
    KeyKind,
    LedgerError,
    LedgerLeaf,
    LocalSigner,
    Receipt,
    WitnessQuorum,
    cosign_note,
    inclusion_proof,
    nodes_from_tiles,
    parse_receipt,
    sign_note,
    to_leaf,
    verifier_key,
    verify_receipt,
)
from agent_mesh.ledger.errors import (
    MalformedEntry,
    MalformedReceipt,
    OutOfRange,
    PayloadMismatch,
    ProofRefused,
    QuorumMissing,
    SignatureRefused,
    Unsigned,
    WrongOrigin,
)
from tests.unit.ledger.small_log import SmallLog

SIZE = 300
WITNESS = LocalSigner("witness.example/w1", bytes([1]) * 32)
QUORUM = WitnessQuorum((verifier_key(WITNESS, KeyKind.COSIGNATURE),), 1)


def leaf_number(number: int) -> LedgerLeaf:
    payload: dict[str, JsonValue] = {"text": "x" * 5000} if number == 7 else {"number": number}
    return to_leaf(
        AuditEntry(
            id=f"evt-{number}", tx_id="tx-1", event="decision", actor="me", ts="2026-11-20T14:00:00Z", payload=payload
        )
    )


LEAVES = [leaf_number(number) for number in range(SIZE)]
LOG = SmallLog()
LOG.append([leaf.entry for leaf in LEAVES])
CHECKPOINT = cosign_note(LOG.checkpoint(), WITNESS, 1_800_000_000)


def receipt_for(index: int) -> Receipt:
    proof = inclusion_proof(nodes_from_tiles(SIZE, LOG.read), index, SIZE)
    return Receipt.of(LEAVES[index], index, proof, CHECKPOINT)


def changed(receipt: Receipt, **fields: object) -> Receipt:
    return receipt.model_copy(update=fields)


@pytest.mark.parametrize("index", [0, 1, 7, 255, 256, 299])
def test_a_receipt_proves_its_entry(index: int) -> None:
    verified = verify_receipt(parse_receipt(receipt_for(index).model_dump_json()), LOG.key, QUORUM)
    assert (verified.entry.id, verified.index) == (f"evt-{index}", index)
    assert verified.checkpoint == Checkpoint(LOG.signer.name, SIZE, LOG.tree.root)
    assert verified.witnesses == ("witness.example/w1",)


def test_a_receipt_by_digest_proves_its_payload_too_and_also_without_it() -> None:
    receipt = receipt_for(7)
    assert receipt.payload is not None
    verify_receipt(changed(receipt, payload=None), LOG.key)
    with pytest.raises(PayloadMismatch):
        verify_receipt(changed(receipt, payload=receipt.payload.replace("x", "y", 1)), LOG.key)
    with pytest.raises(PayloadMismatch):
        verify_receipt(changed(receipt_for(8), payload="{}"), LOG.key)


@settings(max_examples=300)
@given(st.data())
def test_a_receipt_with_any_bit_flipped_is_refused_or_proves_the_same(data: st.DataObject) -> None:
    receipt = receipt_for(data.draw(st.sampled_from([0, 7, 255, 299])))
    document = bytearray(receipt.model_dump_json().encode())
    document[data.draw(st.integers(0, len(document) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        verified = verify_receipt(parse_receipt(bytes(document)), LOG.key, QUORUM)
    except LedgerError:
        return
    assert verified == verify_receipt(receipt, LOG.key, QUORUM)


def test_a_forged_entry_is_refused() -> None:
    receipt = receipt_for(3)
    with pytest.raises(ProofRefused):
        verify_receipt(changed(receipt, entry=receipt.entry.replace('"number":3', '"number":4')), LOG.key)


def test_the_entry_of_another_receipt_is_refused() -> None:
    with pytest.raises(ProofRefused):
        verify_receipt(changed(receipt_for(3), entry=receipt_for(4).entry), LOG.key)


def test_another_place_is_refused() -> None:
    with pytest.raises(ProofRefused):
        verify_receipt(changed(receipt_for(3), index=2), LOG.key)
    with pytest.raises(OutOfRange, match="no leaf 300"):
        verify_receipt(changed(receipt_for(3), index=300), LOG.key)


def test_a_truncated_or_padded_proof_is_refused() -> None:
    receipt = receipt_for(3)
    for proof in ([], receipt.proof[:-1], receipt.proof[1:], [*receipt.proof, receipt.proof[0]]):
        with pytest.raises(ProofRefused):
            verify_receipt(changed(receipt, proof=proof), LOG.key)


def test_the_checkpoint_of_an_older_tree_is_refused() -> None:
    older = SmallLog()
    older.append([leaf.entry for leaf in LEAVES[:200]])
    with pytest.raises(ProofRefused):
        verify_receipt(changed(receipt_for(3), checkpoint=str(older.checkpoint())), LOG.key)


def test_the_checkpoint_of_another_log_is_refused() -> None:
    other = Checkpoint("other.example", SIZE, LOG.tree.root).text
    with pytest.raises(WrongOrigin):
        verify_receipt(changed(receipt_for(3), checkpoint=str(sign_note(other, LOG.signer))), LOG.key)
    stranger = LocalSigner("other.example", bytes([5]) * 32)
    with pytest.raises(Unsigned):
        verify_receipt(changed(receipt_for(3), checkpoint=str(sign_note(other, stranger))), LOG.key)


def test_a_checkpoint_whose_root_was_changed_is_refused() -> None:
    forged = CHECKPOINT.text.replace(f"\n{SIZE}\n", f"\n{SIZE + 1}\n")
    with pytest.raises(SignatureRefused):
        verify_receipt(changed(receipt_for(3), checkpoint=str(CHECKPOINT).replace(CHECKPOINT.text, forged)), LOG.key)


def test_a_missing_quorum_is_refused_only_where_one_is_asked_for() -> None:
    receipt = changed(receipt_for(3), checkpoint=str(LOG.checkpoint()))
    assert verify_receipt(receipt, LOG.key).witnesses == ()
    with pytest.raises(QuorumMissing):
        verify_receipt(receipt, LOG.key, QUORUM)


def test_a_leaf_that_is_no_entry_is_refused_though_it_is_in_the_tree() -> None:
    log = SmallLog()
    log.append([b"hello"])
    with pytest.raises(MalformedEntry):
        verify_receipt(Receipt.of(LedgerLeaf(b"hello", None), 0, [], log.checkpoint()), log.key)


def test_a_hash_in_another_writing_is_refused() -> None:
    receipt = receipt_for(3)
    with pytest.raises(MalformedReceipt, match="hash 0 of the proof"):
        verify_receipt(changed(receipt, proof=["!", *receipt.proof[1:]]), LOG.key)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "agent-mesh-receipt/v2"}, {"index": -1}, {"index": "3"}, {"index": 1.5}, {"index": 1 << 63},
        {"entry": None}, {"entry": "x" * 4001}, {"proof": [1]}, {"proof": "x"}, {"proof": ["x"] * 64}, {"extra": 1},
        {"checkpoint": {}},
    ],
)  # fmt: skip
def test_what_is_no_receipt_is_refused(change: dict[str, object]) -> None:
    fields: dict[str, Any] = {**json.loads(receipt_for(3).model_dump_json()), **change}
    with pytest.raises(MalformedReceipt):
        parse_receipt(json.dumps(fields))


@pytest.mark.parametrize(
    "document", ["", "null", "[", "[" * 100_000, b"\xff\xfe", "\ud800", '"\\ud800"', "x" * 4_194_305]
)
def test_what_is_no_json_object_is_refused(document: str | bytes) -> None:
    with pytest.raises(MalformedReceipt):
        parse_receipt(document)


@given(entry=st.text(), payload=st.one_of(st.none(), st.text()), proof=st.lists(st.text(), max_size=4), note=st.text())
def test_a_receipt_of_any_texts_is_refused_by_name(
    entry: str, payload: str | None, proof: list[str], note: str
) -> None:
    for checkpoint in (note, str(CHECKPOINT)):
        receipt = Receipt.model_construct(index=0, entry=entry, payload=payload, proof=proof, checkpoint=checkpoint)
        with pytest.raises(LedgerError):
            verify_receipt(receipt, LOG.key)


@given(st.text(st.characters(categories=["Cs", "Ll"]), min_size=1))
def test_texts_that_utf8_does_not_have_are_refused_by_name(text: str) -> None:
    for fields in ({"entry": text + "\ud800"}, {"payload": text + "\ud800"}, {"checkpoint": text + "\ud800"}):
        with pytest.raises(LedgerError):
            verify_receipt(changed(receipt_for(7), **fields), LOG.key)
