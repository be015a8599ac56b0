"""What the ledger gives to whoever reads it, over a real Firestore; proofs and receipts are verified, not compared."""

from __future__ import annotations

import secrets

import pytest
from pydantic import JsonValue

from agent_mesh.contracts.problems import InvalidRequest, NotFound
from agent_mesh.ledger import (
    AuditEntry,
    LocalSigner,
    leaf_hash,
    open_checkpoint,
    parse_note,
    tree_root,
    verifier_key,
    verify_consistency,
    verify_inclusion,
    verify_receipt,
)
from agent_mesh.ledger.bundles import decode_entries
from agent_mesh.ledger.reader import LedgerReader
from agent_mesh.ledger.sequencer import Sequencer
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.platform.firestore import FirestoreClient
from tests.conftest import CloudAddresses
from tests.unit.ledger.small_log import ORIGIN

SIGNER = LocalSigner(ORIGIN, bytes(32))
KEY = verifier_key(SIGNER)
SIZE = 600


def event(number: int, tx_id: str, payload: dict[str, JsonValue] | None = None) -> AuditEntry:
    return AuditEntry(
        id=f"evt-{number}",
        tx_id=tx_id,
        event="decision",
        actor="me",
        ts="2026-11-20T14:00:00Z",
        payload=payload or {"n": number},
    )


@pytest.fixture(scope="module")
def ledger(local_cloud: CloudAddresses) -> LedgerReader:
    """Six hundred entries: every third of one transaction, one other of `tx"lone\\`."""
    entries = [event(number, "tx-3" if number % 3 == 0 else "tx") for number in range(SIZE)]
    entries[301] = event(301, 'tx"lone\\')
    store = LedgerStore(FirestoreClient(f"test-{secrets.token_hex(6)}"))
    Sequencer(store, SIGNER).append(entries)
    return LedgerReader(store)


@pytest.fixture
def empty(database: FirestoreClient) -> LedgerReader:
    return LedgerReader(LedgerStore(database))


def leaves(ledger: LedgerReader) -> list[bytes]:
    return [leaf_hash(ledger.record(index).text.encode()) for index in range(ledger.size())]


def test_the_checkpoint_is_the_newest_and_verifies_with_the_key(ledger: LedgerReader) -> None:
    assert ledger.key() == KEY
    assert open_checkpoint(parse_note(ledger.checkpoint()), KEY).size == ledger.size() == SIZE


def test_all_records_of_a_transaction_come_in_order_page_by_page(ledger: LedgerReader) -> None:
    assert [record.index for record in ledger.records_of("tx-3").records] == list(range(0, SIZE, 3))
    found, at = list[int](), 0
    for _ in range(5):
        page = ledger.records_of("tx-3", from_index=at, limit=45)
        found += [record.index for record in page.records]
        if page.next_index is None:
            break
        at = page.next_index
    assert found == list(range(0, SIZE, 3))
    assert ledger.records_of("tx-3", limit=SIZE // 3).next_index is None


def test_a_transaction_is_found_by_its_whole_id_alone(ledger: LedgerReader) -> None:
    (record,) = ledger.records_of('tx"lone\\').records
    assert (record.index, record.entry.id) == (301, "evt-301")
    assert ledger.records_of("tx-").records == ()
    assert ledger.records_of("nobody") == ledger.records_of("tx-3", from_index=SIZE)


def test_each_receipt_verifies_and_those_of_one_call_are_under_one_checkpoint(ledger: LedgerReader) -> None:
    receipts = ledger.receipts(ledger.records_of("tx-3").records)
    assert [verify_receipt(receipt, KEY).index for receipt in receipts] == list(range(0, SIZE, 3))
    assert len({receipt.checkpoint for receipt in receipts}) == 1
    assert verify_receipt(ledger.receipt(599), KEY).entry.id == "evt-599"
    assert ledger.receipts([]) == []


def test_a_receipt_brings_the_payload_that_the_entry_has_only_the_digest_of(database: FirestoreClient) -> None:
    store = LedgerStore(database)
    Sequencer(store, SIGNER).append([event(0, "tx", {"text": "x" * 9000})])
    receipt = LedgerReader(store).receipt(0)
    assert receipt.payload == '{"text":"' + "x" * 9000 + '"}'
    verify_receipt(receipt, KEY)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 256), (255, 257), (256, 600), (599, 600), (300, None)])
def test_inclusion_proofs_lead_to_the_root_of_the_tree_of_that_size(
    ledger: LedgerReader, index: int, size: int | None
) -> None:
    hashes = leaves(ledger)
    root = tree_root(hashes[: size or SIZE])
    verify_inclusion(hashes[index], index, size or SIZE, ledger.inclusion(index, size), root)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (255, 256), (256, 600), (513, 599), (600, 600), (300, None)])
def test_consistency_proofs_lead_from_the_older_tree_to_the_newer(
    ledger: LedgerReader, old: int, new: int | None
) -> None:
    hashes = leaves(ledger)
    proof = ledger.consistency(old, new)
    verify_consistency(old, new or SIZE, proof, tree_root(hashes[:old]), tree_root(hashes[: new or SIZE]))


@pytest.mark.parametrize(("index", "size"), [(600, None), (600, 600), (5, 5), (0, 601), (-1, None), (0, -1), (0, 0)])
def test_there_is_no_inclusion_proof_of_what_is_not_there(ledger: LedgerReader, index: int, size: int | None) -> None:
    with pytest.raises(InvalidRequest):
        ledger.inclusion(index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 600), (0, 0), (5, 4), (601, 601), (600, 601), (-1, 5)])
def test_there_is_no_consistency_proof_between_trees_that_never_were(ledger: LedgerReader, old: int, new: int) -> None:
    with pytest.raises(InvalidRequest):
        ledger.consistency(old, new)


@pytest.mark.parametrize(
    "path", ["tile/entries/000", "tile/entries/002.p/88", "tile/entries/001.p/7", "tile/entries/002.p/1"]
)
def test_a_bundle_is_exactly_as_wide_as_it_was_asked_for(ledger: LedgerReader, path: str) -> None:
    served = ledger.tile(path)
    entries = decode_entries(served.held)
    assert len(entries) == served.tile.width
    assert served.full is (".p/" not in path)
    first = served.tile.index * 256
    assert [entry.decode() for entry in entries] == [ledger.record(first + at).text for at in range(len(entries))]


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/001.p/9", "tile/0/002.p/88", "tile/1/000.p/2"])
def test_a_tile_is_exactly_as_wide_as_it_was_asked_for(ledger: LedgerReader, path: str) -> None:
    served = ledger.tile(path)
    hashes = leaves(ledger)
    if served.tile.level == 0:
        wanted = hashes[served.tile.index * 256 :][: served.tile.width]
    else:
        wanted = [tree_root(hashes[at * 256 : (at + 1) * 256]) for at in range(served.tile.width)]
    assert served.held == b"".join(wanted)


@pytest.mark.parametrize(
    "path",
    ["tile/0/002", "tile/0/002.p/89", "tile/0/003.p/1", "tile/1/000", "tile/1/000.p/3", "tile/2/000.p/1",
     "tile/entries/002", "tile/entries/x001/000", "tile/63/000", "tile/0/x999/x999/x999/x999/x999/x999/999"],
)  # fmt: skip
def test_a_tile_that_is_not_there_or_not_yet_so_wide_is_not_found(ledger: LedgerReader, path: str) -> None:
    with pytest.raises((NotFound, InvalidRequest)):
        ledger.tile(path)


@pytest.mark.parametrize(
    "path", ["", "tile", "tile/0/0", "tile/0/000.p/0", "tile/0/000.p/256", "tile/-1/000", "tile/0/../0"]
)
def test_a_path_that_names_no_tile_is_refused(ledger: LedgerReader, path: str) -> None:
    with pytest.raises(InvalidRequest):
        ledger.tile(path)


@pytest.mark.parametrize("index", [-1, SIZE, 2**63])
def test_an_entry_that_is_not_there_is_not_found(ledger: LedgerReader, index: int) -> None:
    for ask in (ledger.record, ledger.receipt):
        with pytest.raises(NotFound):
            ask(index)


def test_an_empty_ledger_has_neither_checkpoint_nor_records(empty: LedgerReader) -> None:
    assert (empty.size(), empty.records_of("tx").records) == (0, ())
    for ask in (empty.checkpoint, empty.key, lambda: empty.receipt(0), lambda: empty.tile("tile/0/000.p/1")):
        with pytest.raises(NotFound):
            ask()
    with pytest.raises(InvalidRequest):
        empty.inclusion(0)
