"""Whatever byte of a stored ledger is changed, the search finds it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from agent_mesh.ledger import AuditEntry, LocalSigner, Tile, sign_note, to_leaf
from agent_mesh.ledger.errors import TileMissing
from agent_mesh.ledger.fsck import Finding, StoredLedger, check_ledger
from agent_mesh.ledger.tree import CompactRange
from tests.unit.ledger.small_log import ORIGIN, SmallLog

SIZE = 600
LARGE = 300


def leaf_number(number: int) -> tuple[bytes, bytes | None]:
    payload: dict[str, JsonValue] = {"text": "x" * 5000} if number == LARGE else {"number": number}
    leaf = to_leaf(
        AuditEntry(
            id=f"evt-{number}", tx_id="tx", event="decision", actor="me", ts="2026-11-20T14:00:00Z", payload=payload
        )
    )
    return leaf.entry, leaf.payload


LEAVES = [leaf_number(number) for number in range(SIZE)]
LOG = SmallLog()
LOG.append([leaf for leaf, _ in LEAVES])
PAYLOAD = LEAVES[LARGE][1]
CHECKPOINT = str(LOG.checkpoint())


def payload_of(_: str) -> bytes:
    assert PAYLOAD is not None
    return PAYLOAD


INTACT = StoredLedger(LOG.tree, CHECKPOINT, LOG.read, payload_of)


def findings(stored: StoredLedger) -> list[Finding]:
    return list(check_ledger(stored, LOG.key))


def places(stored: StoredLedger) -> set[str]:
    return {finding.place for finding in findings(stored)}


def with_tile(place: Tile, held: bytes | None) -> StoredLedger:
    return replace(INTACT, read=lambda tile: held if tile.full == place else LOG.read(tile))


def flipped(held: bytes, data: st.DataObject) -> bytes:
    changed = bytearray(held)
    changed[data.draw(st.integers(0, len(held) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(changed)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, SIZE])
def test_in_an_unchanged_ledger_nothing_is_found(size: int) -> None:
    log = SmallLog()
    log.append([leaf for leaf, _ in LEAVES[:size]])
    checkpoint = str(log.checkpoint()) if size else None
    assert findings(StoredLedger(log.tree, checkpoint, log.read, payload_of)) == []


@given(st.data())
def test_a_flipped_bit_in_any_tile_or_bundle_is_found(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(LOG.tiles)))
    assert places(with_tile(place, flipped(LOG.tiles[place], data)))


@given(st.data())
def test_a_flipped_bit_in_a_tile_is_found_where_it_is(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([tile for tile in LOG.tiles if tile.level is not None]))
    assert len(findings(with_tile(place, flipped(LOG.tiles[place], data)))) == 1


@given(st.data())
def test_a_flipped_bit_in_a_payload_is_found(data: st.DataObject) -> None:
    assert PAYLOAD is not None
    changed = flipped(PAYLOAD, data)
    assert places(replace(INTACT, payload=lambda _: changed)) == {f"entry {LARGE}"}


@given(st.data())
def test_a_flipped_bit_in_the_checkpoint_is_found(data: st.DataObject) -> None:
    changed = flipped(CHECKPOINT.encode(), data).decode(errors="surrogateescape")
    assert places(replace(INTACT, checkpoint=changed)) == {"head"}


def test_a_flipped_bit_in_the_heads_hashes_is_found() -> None:
    hashes = (bytes(32), *LOG.tree.hashes[1:])
    assert places(replace(INTACT, tree=CompactRange(0, SIZE, hashes))) == {"head"}


@pytest.mark.parametrize("place", LOG.tiles, ids=[tile.path for tile in LOG.tiles])
def test_a_tile_that_is_missing_or_longer_is_found(place: Tile) -> None:
    assert places(with_tile(place, None))
    assert places(with_tile(place, LOG.tiles[place] + bytes(32)))


def test_a_missing_payload_is_found() -> None:
    def gone(sha256: str) -> bytes:
        raise TileMissing(f"the payload with SHA-256 {sha256} is not there")

    assert places(replace(INTACT, payload=gone)) == {f"entry {LARGE}"}


def test_a_history_written_anew_does_not_fit_the_checkpoint_though_all_its_tiles_fit() -> None:
    log = SmallLog()
    log.append([leaf for leaf, _ in [*LEAVES[:5], LEAVES[0], *LEAVES[6:]]])
    assert findings(StoredLedger(log.tree, CHECKPOINT, log.read, payload_of)) == [
        Finding("head", "the log has signed another tree than the one of the entries")
    ]


def test_a_checkpoint_of_somebody_else_or_none_is_found() -> None:
    stranger = LocalSigner(ORIGIN, bytes([9]) * 32)
    assert places(replace(INTACT, checkpoint=str(sign_note(LOG.checkpoint().text, stranger)))) == {"head"}
    assert places(replace(INTACT, checkpoint=None)) == {"head"}
