"""How a tree grows by a batch of entries, and how a node is read back: from tiles alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agent_mesh.ledger.bundles import decode_entries, decode_hashes, encode_entries, encode_hashes
from agent_mesh.ledger.errors import TileMissing
from agent_mesh.ledger.proofs import NodeReader
from agent_mesh.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile
from agent_mesh.ledger.tree import CompactRange, cover, leaf_hash, node_hash, tree_root

TileReader: TypeAlias = Callable[[Tile], bytes | None]
"""Gives the bytes of a tile or bundle, as wide as asked for or wider; None if it is not there."""

Decoder: TypeAlias = Callable[[bytes], list[bytes]]
Encoder: TypeAlias = Callable[[Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Growth:
    """What a batch of entries adds to a tree."""

    tree: CompactRange
    tiles: Mapping[Tile, bytes]
    """Bytes of every tile and bundle that is new or wider than before."""


def grow(tree: CompactRange, entries: Sequence[bytes], read: TileReader) -> Growth:
    """Return the tree with `entries` appended, and the tiles and bundles that changes.

    Of the old tree only the rightmost bundle and the rightmost tile of a level are read, and only where they are
    partial.

    Raises:
        TileMissing: one of those is not there, or too narrow.
        MalformedEntry: an entry is too long for a bundle.
    """
    if not entries:
        return Growth(tree, {})
    leaves = [leaf_hash(entry) for entry in entries]
    bundled = [*_begun(read, None, tree.end, decode_entries), *entries]
    tiles = _written(None, tree.end, bundled, encode_entries)
    level, count, added = 0, tree.end, leaves
    while added:
        hashes = [*_begun(read, level, count, decode_hashes), *added]
        tiles |= _written(level, count, hashes, encode_hashes)
        added = [tree_root(hashes[at : at + TILE_WIDTH]) for at in _starts(hashes) if at + TILE_WIDTH <= len(hashes)]
        level, count = level + 1, count // TILE_WIDTH
    return Growth(tree.append(leaves), tiles)


def nodes_from_tiles(size: int, read: TileReader) -> NodeReader:
    """Return a reader of the nodes of the tree of `size` leaves, for proofs.

    What it has read or hashed once it keeps. Its nodes raise `TileMissing` when a tile is not there, and
    `MalformedTile` when it is no tile.
    """
    tiles: dict[Tile, list[bytes]] = {}
    known: dict[tuple[int, int], bytes] = {}

    def stored(level: int, index: int) -> bytes:
        tile_level = level // TILE_HEIGHT
        tile_index, offset = divmod(index, TILE_WIDTH)
        count = size >> (TILE_HEIGHT * tile_level)
        tile = Tile(tile_level, tile_index, max(1, min(TILE_WIDTH, count - tile_index * TILE_WIDTH)))
        if tile not in tiles:
            tiles[tile] = _held(read, tile, decode_hashes)
        if offset >= len(tiles[tile]):
            raise TileMissing(f"a tree of {size} leaves has no whole node {index} at level {level}")
        return tiles[tile][offset]

    def node(level: int, index: int) -> bytes:
        found = known.get((level, index))
        if found is None:
            whole = level % TILE_HEIGHT == 0
            left = stored(level, index) if whole else node(level - 1, 2 * index)
            found = known[level, index] = left if whole else node_hash(left, node(level - 1, 2 * index + 1))
        return found

    return node


def tree_from_tiles(size: int, read: TileReader) -> CompactRange:
    """Return the tree of the first `size` entries as the tiles have it: only the rightmost of each level are read.

    Raises:
        TileMissing: one of them is not there, or too narrow.
        MalformedTile: one of them is no tile.
    """
    node = nodes_from_tiles(size, read)
    return CompactRange(0, size, tuple(node(level, index) for level, index in cover(0, size)))


def nodes_from_leaves(leaf_hashes: Sequence[bytes]) -> NodeReader:
    """Return a reader of the nodes of the tree with these leaves, for proofs.

    Its nodes raise `TileMissing` when the leaves do not reach that far.
    """

    def node(level: int, index: int) -> bytes:
        covered = leaf_hashes[index << level : (index + 1) << level]
        if len(covered) != 1 << level:
            raise TileMissing(f"a tree of {len(leaf_hashes)} leaves has no whole node {index} at level {level}")
        return tree_root(covered)

    return node


def _begun(read: TileReader, level: int | None, count: int, decode: Decoder) -> list[bytes]:
    """Return what the tile holds that comes next to be filled, of a level that has `count` hashes or entries."""
    index, width = divmod(count, TILE_WIDTH)
    return _held(read, Tile(level, index, width), decode) if width else []


def _written(level: int | None, count: int, values: Sequence[bytes], encode: Encoder) -> dict[Tile, bytes]:
    """Return tiles with these values, from the one on that comes next to be filled."""
    first, written = count // TILE_WIDTH, dict[Tile, bytes]()
    for number, start in enumerate(_starts(values)):
        held = values[start : start + TILE_WIDTH]
        written[Tile(level, first + number, len(held))] = encode(held)
    return written


def _starts(values: Sequence[bytes]) -> range:
    return range(0, len(values), TILE_WIDTH)


def _held(read: TileReader, tile: Tile, decode: Decoder) -> list[bytes]:
    found = read(tile)
    if found is None:
        raise TileMissing(f"{tile.path} is not there")
    values = decode(found)
    if len(values) < tile.width:
        raise TileMissing(f"{tile.path} is needed, and what is there is only {len(values)} wide")
    return values[: tile.width]
