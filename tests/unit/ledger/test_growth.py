"""A log that grows in batches has, after each, the tiles of a log that was built at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_mesh.ledger import (
    Tile,
    consistency_proof,
    inclusion_proof,
    nodes_from_leaves,
    nodes_from_tiles,
    tiles_of,
    touched,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from agent_mesh.ledger.bundles import decode_entries
from agent_mesh.ledger.errors import MalformedTile, TileMissing
from tests.unit.ledger.small_log import SmallLog, entries_up_to, leaves_up_to, root_of

BATCHES = st.lists(st.integers(0, 700), max_size=6)


@settings(max_examples=40)
@given(BATCHES)
def test_batches_write_the_touched_tiles_and_nothing_else(batches: list[int]) -> None:
    log, at_once = SmallLog(), SmallLog()
    entries = entries_up_to(sum(batches))  # batches of none among them
    for batch in batches:
        size = log.tree.end
        assert log.append(entries[size : size + batch]) == set(touched(size, size + batch))
    at_once.append(entries)
    assert (log.tree, log.tiles) == (at_once.tree, at_once.tiles)
    assert log.tree.root == root_of(len(entries))
    assert {tile.full for tile in tiles_of(len(entries))} == set(log.tiles)


def test_bundles_hold_the_entries_in_their_order() -> None:
    log = SmallLog()
    for size in (100, 200, 300):
        log.append(entries_up_to(size)[log.tree.end :])
    held = [decode_entries(log.tiles[Tile(None, index)]) for index in (0, 1)]
    assert held[0] + held[1] == entries_up_to(300)


@settings(max_examples=40)
@given(st.data())
def test_proofs_from_tiles_are_those_from_leaves_at_every_size(data: st.DataObject) -> None:
    whole = 66_000 if data.draw(st.booleans()) else 700
    log = LOGS[whole]
    size = data.draw(st.integers(1, whole))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    tiles, leaves = nodes_from_tiles(size, log.read), nodes_from_leaves(LEAVES[:size])
    proof = inclusion_proof(tiles, index, size)
    assert proof == inclusion_proof(leaves, index, size)
    assert consistency_proof(tiles, old, size) == consistency_proof(leaves, old, size)
    root = tree_root(LEAVES[:size])
    verify_inclusion(LEAVES[index], index, size, proof, root)
    verify_consistency(old, size, consistency_proof(tiles, old, size), tree_root(LEAVES[:old]), root)


def test_a_missing_tile_is_named() -> None:
    log = SmallLog()
    log.append(entries_up_to(300))
    del log.tiles[Tile(0, 1)]
    with pytest.raises(TileMissing, match=r"tile/0/001\.p/44 is not there"):
        inclusion_proof(nodes_from_tiles(300, log.read), 299, 300)
    with pytest.raises(TileMissing, match="is not there"):
        log.append([b"next"])


def test_a_tile_that_is_too_narrow_is_named() -> None:
    log = SmallLog()
    log.append(entries_up_to(300))
    log.tiles[Tile(0, 1)] = log.tiles[Tile(0, 1)][:-32]
    with pytest.raises(TileMissing, match="only 43 wide"):
        log.append([b"next"])


def test_a_tile_that_is_none_is_refused() -> None:
    log = SmallLog()
    log.append(entries_up_to(300))
    log.tiles[Tile(0, 0)] = b"no hashes"
    with pytest.raises(MalformedTile):
        inclusion_proof(nodes_from_tiles(300, log.read), 0, 300)


def test_a_node_beyond_the_tree_is_refused() -> None:
    log = SmallLog()
    log.append(entries_up_to(300))
    with pytest.raises(TileMissing, match="no whole node 1 at level 8"):
        nodes_from_tiles(300, log.read)(8, 1)


def built(size: int) -> SmallLog:
    log = SmallLog()
    log.append(entries_up_to(size))
    return log


LEAVES = leaves_up_to(66_000)
LOGS = {size: built(size) for size in (700, 66_000)}
