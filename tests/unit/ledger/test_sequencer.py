"""Whatever happens to a commit, the ledger is one tree with each entry once. On a real Firestore."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions as google_errors
from google.cloud import firestore
from pydantic import JsonValue

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.ledger import (
    AuditEntry,
    LedgerLeaf,
    LocalSigner,
    Receipt,
    Tile,
    check_payload,
    grow,
    inclusion_proof,
    known_entries,
    nodes_from_tiles,
    open_checkpoint,
    parse_entry,
    parse_note,
    sign_note,
    tiles_of,
    verifier_key,
    verify_receipt,
)
from agent_mesh.ledger.bundles import decode_entries, decode_hashes
from agent_mesh.ledger.errors import HeadRefused, LedgerError, TileMissing
from agent_mesh.ledger.fsck import StoredLedger, check_ledger
from agent_mesh.ledger.sequencer import Sequencer
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.platform.firestore import FirestoreClient, LostRace
from tests.unit.ledger.small_log import ORIGIN, SmallLog

SIGNER = LocalSigner(ORIGIN, bytes(32))
KEY = str(verifier_key(SIGNER))


@pytest.fixture
def store(database: FirestoreClient) -> LedgerStore:
    return LedgerStore(database)


def event(name: str, payload: dict[str, JsonValue] | None = None) -> AuditEntry:
    return AuditEntry(
        id=name, tx_id="tx-1", event="decision", actor="me", ts="2026-11-20T14:00:00Z", payload=payload or {"n": name}
    )


def events(*numbers: int) -> list[AuditEntry]:
    return [event(f"evt-{number}") for number in numbers]


def stored_ids(store: LedgerStore) -> list[str]:
    """Read everything again, check that it is one valid tree, and return the ids in their order."""
    head = store.head()
    bundles = [store.read(tile) for tile in tiles_of(head.tree.end) if tile.level is None]
    leaves = [leaf for held in bundles for leaf in decode_entries(held or b"")]
    rebuilt = SmallLog()
    rebuilt.append(leaves)
    assert rebuilt.tree == head.tree
    for tile in tiles_of(head.tree.end):
        assert store.read(tile) == rebuilt.read(tile)
    if head.checkpoint is not None:
        checkpoint = open_checkpoint(parse_note(head.checkpoint), verifier_key(SIGNER))
        assert (checkpoint.size, checkpoint.root) == (head.tree.end, head.tree.root)
    return [parse_entry(leaf).id for leaf in leaves]


def test_an_empty_ledger_has_the_empty_tree(store: LedgerStore) -> None:
    assert stored_ids(store) == []
    assert Sequencer(store, SIGNER).append([]) == []
    assert store.head().checkpoint is None


def test_batches_follow_each_other(store: LedgerStore) -> None:
    sequencer = Sequencer(store, SIGNER)
    assert [placed.index for placed in sequencer.append(events(*range(200)))] == list(range(200))
    assert [placed.index for placed in sequencer.append(events(*range(200, 600)))] == list(range(200, 600))
    assert stored_ids(store) == [f"evt-{number}" for number in range(600)]


def test_a_receipt_from_what_is_stored_verifies(store: LedgerStore) -> None:
    Sequencer(store, SIGNER).append(events(*range(300)))
    head = store.head()
    assert head.checkpoint is not None
    bundle = store.read(Tile(None, 1))
    assert bundle is not None
    proof = inclusion_proof(nodes_from_tiles(300, store.read), 299, 300)
    leaf = LedgerLeaf(decode_entries(bundle)[299 - 256], None)
    receipt = Receipt.of(leaf, 299, proof, parse_note(head.checkpoint))
    assert verify_receipt(receipt, verifier_key(SIGNER)).entry.id == "evt-299"


def test_a_repeated_entry_keeps_its_place_whoever_appends_it(store: LedgerStore) -> None:
    first = Sequencer(store, SIGNER)
    first.append(events(0, 1, 2))
    for sequencer in (first, Sequencer(store, SIGNER)):
        assert [placed.index for placed in sequencer.append(events(2, 0))] == [2, 0]
    assert [placed.index for placed in first.append(events(3, 1, 3))] == [3, 1, 3]
    assert stored_ids(store) == ["evt-0", "evt-1", "evt-2", "evt-3"]


def test_racing_sequencers_make_one_tree_with_each_entry_once(store: LedgerStore, database: FirestoreClient) -> None:
    places: list[dict[str, int]] = []
    barrier = threading.Barrier(2)

    def append(numbers: range) -> None:
        sequencer, found = Sequencer(LedgerStore(database), SIGNER), dict[str, int]()
        barrier.wait()
        for start in numbers[::20]:
            placed = sequencer.append(events(*range(start, start + 40)))
            found |= {each.entry_id: each.index for each in placed}
        places.append(found)

    threads = [threading.Thread(target=append, args=(numbers,)) for numbers in (range(240), range(100, 340))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = stored_ids(store)
    assert sorted(ids) == sorted({f"evt-{number}" for number in range(360)})
    for found in places:
        assert all(ids[index] == entry_id for entry_id, index in found.items())
    assert len(places) == 2


def test_a_commit_on_an_older_head_is_refused_as_a_whole(store: LedgerStore) -> None:
    sequencer = Sequencer(store, SIGNER)
    empty = store.head()
    sequencer.append(events(0))
    older = store.head()
    sequencer.append(events(1))
    for head in (empty, older):
        growth = grow(head.tree, [event("forked").canonical()], store.read)
        with pytest.raises(LostRace):
            store.commit(head, growth, sign_note("never\n", SIGNER), KEY, {"0" * 64: b"never"})
    assert stored_ids(store) == ["evt-0", "evt-1"]
    with pytest.raises(TileMissing):
        store.payload("0" * 64)


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
def test_a_commit_without_an_answer_is_repeated_and_adds_nothing_twice(
    store: LedgerStore, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    sequencer = Sequencer(store, SIGNER)
    sequencer.append(events(0, 1))
    commit: Callable[..., Any] = firestore.WriteBatch.commit

    def cut_off(batch: firestore.WriteBatch) -> None:
        if committed:
            commit(batch)
        raise google_errors.ServiceUnavailable("connection lost")  # type: ignore[no-untyped-call]

    with monkeypatch.context() as patch:
        patch.setattr(firestore.WriteBatch, "commit", cut_off)
        with pytest.raises(Unavailable):
            sequencer.append(events(2, 3))
    assert len(stored_ids(store)) == (4 if committed else 2)
    assert [placed.index for placed in sequencer.append(events(2, 3, 4))] == [2, 3, 4]
    assert stored_ids(store) == [f"evt-{number}" for number in range(5)]


def test_a_large_payload_is_kept_beside_the_entry_that_names_its_digest(
    store: LedgerStore, database: FirestoreClient
) -> None:
    Sequencer(store, SIGNER).append([event("large", {"text": "x" * 200_000})])
    bundle = store.read(Tile(None, 0))
    entry = parse_entry(decode_entries(bundle or b"")[0])
    assert entry.payload_digest is not None
    check_payload(entry, store.payload(entry.payload_digest.sha256))
    head = store.head()
    stored = StoredLedger(head.tree, head.checkpoint, store.read, store.payload)
    assert list(check_ledger(stored, verifier_key(SIGNER))) == []
    database.collection("ledger").document(f"payload-{entry.payload_digest.sha256}").delete()
    assert [finding.place for finding in check_ledger(stored, verifier_key(SIGNER))] == ["entry 0"]


def test_more_than_a_commit_holds_goes_in_several(store: LedgerStore) -> None:
    large = [event(f"evt-{number}", {"text": "x" * 250_000}) for number in range(20)]
    assert [placed.index for placed in Sequencer(store, SIGNER).append(large)] == list(range(20))
    assert stored_ids(store) == [f"evt-{number}" for number in range(20)]


def test_an_entry_is_known_again_however_old_it_is(store: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_entries, "REMEMBERED", 256)
    writer, reader = Sequencer(store, SIGNER), Sequencer(store, SIGNER)
    writer.append(events(*range(600)))
    for sequencer in (writer, reader):
        assert [placed.index for placed in sequencer.append(events(344, 599, 0, 700))] == [344, 599, 0, 600]
    assert stored_ids(store) == [*(f"evt-{number}" for number in range(600)), "evt-700"]


def test_a_process_that_starts_reads_the_head_and_the_last_bundle_and_no_more(
    store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sequencer(store, SIGNER).append(events(*range(1000)))
    read: list[str] = []
    get = firestore.DocumentReference.get

    def noted(reference: firestore.DocumentReference, *given: Any, **named: Any) -> Any:
        read.append(reference.id)
        return get(reference, *given, **named)

    monkeypatch.setattr(firestore.DocumentReference, "get", noted)
    assert Sequencer(store, SIGNER).append(events(1000))[0].index == 1000
    assert sorted(set(read)) == [
        "entries-00000000000000003",
        "head",
        "tile-0-00000000000000003",
        "tile-1-00000000000000000",
    ]


def test_what_is_written_again_and_again_is_read_once(store: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sequencer = Sequencer(store, SIGNER)
    sequencer.append(events(*range(300)))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing has to be read")

    monkeypatch.setattr(firestore.DocumentReference, "get", never)
    assert [placed.index for placed in sequencer.append(events(300, 299, 301))] == [300, 299, 301]


@pytest.mark.parametrize("field", ["size", "hashes", "checkpoint", "key"])
def test_nothing_is_signed_on_top_of_a_head_that_was_changed(
    store: LedgerStore, database: FirestoreClient, field: str
) -> None:
    Sequencer(store, SIGNER).append(events(0, 1, 2))
    head = database.collection("ledger").document("head")
    other = SmallLog()
    other.append([event("forged").canonical()] * 3)
    forged = {"size": 2, "hashes": list(other.tree.hashes), "checkpoint": str(other.checkpoint())}
    head.update({field: forged.get(field, 7)})
    with pytest.raises(LedgerError):
        Sequencer(store, SIGNER).append(events(3))
    assert (head.get().get(field), head.get().get("size") <= 3) == (forged.get(field, 7), True)


@pytest.mark.parametrize(
    "document", ["entries-00000000000000001", "tile-0-00000000000000001", "tile-1-00000000000000000"]
)
def test_what_was_changed_at_the_end_is_not_written_over(
    store: LedgerStore, database: FirestoreClient, document: str
) -> None:
    Sequencer(store, SIGNER).append(events(*range(300)))
    reference = database.collection("ledger").document(document)
    held = bytearray(reference.get().get("held"))
    held[20] ^= 1
    reference.update({"held": bytes(held)})
    with pytest.raises(LedgerError):
        Sequencer(store, SIGNER).append(events(300))
    assert reference.get().get("held") == bytes(held)
    assert store.head().tree.end == 300


def test_a_head_that_was_set_back_or_taken_away_overwrites_nothing(
    store: LedgerStore, database: FirestoreClient
) -> None:
    sequencer = Sequencer(store, SIGNER)
    sequencer.append(events(*range(256)))
    head = database.collection("ledger").document("head")
    older = head.get().to_dict()
    sequencer.append(events(256))
    head.set(older or {})
    newer = store.read(Tile(None, 1))
    with pytest.raises(HeadRefused):
        sequencer.append(events(257))
    with pytest.raises(Unavailable):
        Sequencer(store, SIGNER).append(events(257))
    head.delete()
    with pytest.raises(Unavailable):
        Sequencer(store, SIGNER).append(events(257))
    assert store.read(Tile(None, 1)) == newer


def test_a_missing_bundle_stops_a_sequencer_that_has_to_read_it(store: LedgerStore, database: FirestoreClient) -> None:
    Sequencer(store, SIGNER).append(events(0, 1))
    database.collection("ledger").document("entries-00000000000000000").delete()
    with pytest.raises(TileMissing, match=r"tile/entries/000\.p/2 is not there"):
        Sequencer(store, SIGNER).append(events(2))


def test_the_tiles_of_level_one_are_stored(store: LedgerStore) -> None:
    Sequencer(store, SIGNER).append(events(*range(513)))
    assert len(decode_hashes(store.read(Tile(1, 0)) or b"")) == 2
