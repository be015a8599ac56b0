"""Whatever byte of a ledger is flipped in Firestore, in whatever field of whatever document, is found."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud import firestore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_mesh.ledger import AuditEntry, LocalSigner, verifier_key
from agent_mesh.ledger.fsck import Finding
from agent_mesh.ledger.inspection import inspect
from agent_mesh.ledger.sequencer import Sequencer
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.platform.firestore import FirestoreClient
from tests.conftest import CloudAddresses
from tests.unit.ledger.small_log import ORIGIN

SIGNER = LocalSigner(ORIGIN, bytes(32))
SIZE = 520
LARGE = 300
PART = 2


class Kept:
    """A ledger in a real Firestore, and every document of it as it should be."""

    def __init__(self) -> None:
        self.database = FirestoreClient(f"test-{secrets.token_hex(6)}")
        self.store = LedgerStore(self.database)
        Sequencer(self.store, SIGNER).append([self._entry(number) for number in range(SIZE)])
        self.collection: Any = self.database.collection("ledger")
        self.documents: dict[str, dict[str, Any]] = {each.id: each.to_dict() or {} for each in self.collection.stream()}
        self.fields = sorted((name, field) for name, fields in self.documents.items() for field in fields)

    def _entry(self, number: int) -> AuditEntry:
        payload: dict[str, Any] = {"text": "x" * 5000} if number == LARGE else {"n": number}
        return AuditEntry(
            id=f"e-{number}", tx_id=f"tx-{number % 9}", event="e", actor="a", ts="2026-11-20T14:00:00Z", payload=payload
        )

    def findings(self) -> list[Finding]:
        """Read it part by part, as `POST /fsck` does."""
        found, at = list[Finding](), 0
        while True:
            inspected = inspect(self.store, verifier_key(SIGNER), at, PART)
            found += inspected.findings
            if inspected.next_bundle is None:
                return found
            at = inspected.next_bundle

    def put_back(self, name: str) -> None:
        self.collection.document(name).set(self.documents[name])


@pytest.fixture(scope="module")
def kept(local_cloud: CloudAddresses) -> Iterator[Kept]:
    ledger = Kept()
    assert ledger.findings() == []
    yield ledger
    assert ledger.findings() == []


def flipped(value: Any, data: st.DataObject) -> Any:
    """Return the value with one bit of one of its bytes the other way round."""
    if isinstance(value, list):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], flipped(value[at], data), *value[at + 1 :]]
    if isinstance(value, bytes):
        at, bit = data.draw(st.integers(0, len(value) - 1)), data.draw(st.integers(0, 7))
        return value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :]
    if isinstance(value, str):
        at, bit = data.draw(st.integers(0, len(value) - 1)), data.draw(st.integers(0, 6))
        return value[:at] + chr(ord(value[at]) ^ 1 << bit) + value[at + 1 :]
    assert isinstance(value, int)
    return value ^ 1 << data.draw(st.integers(0, 62))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_any_flipped_bit_of_any_field_is_found(kept: Kept, data: st.DataObject) -> None:
    name, field = data.draw(st.sampled_from(kept.fields))
    changed = flipped(kept.documents[name][field], data)
    kept.collection.document(name).update({field: changed})
    try:
        assert kept.findings(), f"{name}.{field} was changed to {changed!r:.80}"
    finally:
        kept.put_back(name)


def test_there_are_documents_of_every_kind(kept: Kept) -> None:
    kinds = {(name.partition("-")[0], field) for name, field in kept.fields}
    assert kinds == {
        ("head", "size"),
        ("head", "hashes"),
        ("head", "checkpoint"),
        ("head", "key"),
        ("entries", "held"),
        ("entries", "entryIds"),
        ("entries", "txIds"),
        ("tile", "held"),
        ("payload", "held"),
    }


@pytest.mark.parametrize("other", [None, 5, "text", b"", [], [1], {"a": 1}, True, 1.5])
def test_a_field_of_another_type_or_without_content_is_found(kept: Kept, other: Any) -> None:
    for name, field in kept.fields:
        kept.collection.document(name).update({field: copy.copy(other)})
        try:
            assert kept.findings(), (name, field)
        finally:
            kept.put_back(name)


def test_a_field_or_a_document_that_is_gone_is_found(kept: Kept) -> None:
    for name, field in kept.fields:
        kept.collection.document(name).update({field: firestore.DELETE_FIELD})
        assert kept.findings(), (name, field)
        kept.put_back(name)
    for name in kept.documents:
        kept.collection.document(name).delete()
        assert kept.findings(), name
        kept.put_back(name)


def test_an_entry_more_than_was_signed_is_found(kept: Kept) -> None:
    last = "entries-00000000000000002"
    held = kept.documents[last]["held"]
    kept.collection.document(last).update({"held": held + held[:2] + held[2 : 2 + int.from_bytes(held[:2], "big")]})
    assert [finding.place for finding in kept.findings()] == ["tile/entries/002.p/8"]
    kept.put_back(last)


@pytest.mark.parametrize("size", [255, 256, 257, 512, 519])
def test_a_head_that_was_set_back_is_found_where_anything_newer_is_left(kept: Kept, size: int) -> None:
    older = Sequencer(LedgerStore(FirestoreClient(f"test-{secrets.token_hex(6)}")), SIGNER)
    older.append([kept._entry(number) for number in range(size)])
    head = older._store.head()
    assert head.checkpoint is not None
    fields = {"size": size, "hashes": list(head.tree.hashes), "checkpoint": head.checkpoint, "key": head.key}
    kept.collection.document("head").set(fields)
    assert kept.findings()
    kept.put_back("head")


def test_what_was_appended_meanwhile_is_no_finding(kept: Kept) -> None:
    class Appending(LedgerStore):
        """Others append whenever something is read."""

        appended = SIZE

        def read(self, tile: Any) -> bytes | None:
            entry = kept._entry(self.appended)
            type(self).appended += 1
            writer.append([entry])
            return super().read(tile)

    database = FirestoreClient(f"test-{secrets.token_hex(6)}")
    writer = Sequencer(LedgerStore(database), SIGNER)
    writer.append([kept._entry(number) for number in range(SIZE)])
    inspected = inspect(Appending(database), verifier_key(SIGNER), 0, 64)
    assert (inspected.size, inspected.findings, inspected.next_bundle) == (SIZE, (), None)
    assert writer.append([kept._entry(10_000)])[0].index > SIZE
