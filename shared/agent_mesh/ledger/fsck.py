"""Reads a whole ledger again, builds the tree anew from its entries, and says where what is stored differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from agent_mesh.ledger.bundle_index import BundleIndex, index_of
from agent_mesh.ledger.bundles import decode_entries, encode_entries
from agent_mesh.ledger.checkpoints import open_checkpoint
from agent_mesh.ledger.entries import check_payload, parse_entry
from agent_mesh.ledger.errors import LedgerError, TileMissing
from agent_mesh.ledger.growth import TileReader, grow, tree_from_tiles
from agent_mesh.ledger.keys import VerifierKey
from agent_mesh.ledger.notes import parse_note
from agent_mesh.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile
from agent_mesh.ledger.tree import CompactRange

PayloadReader: TypeAlias = Callable[[int, str], bytes]
"""Gives the payload of an entry, by the entry's index and the payload's SHA-256."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as the entries and the log's signature say."""

    place: str
    """Path of a tile or bundle, number of an entry, or `head`."""

    fault: str


@dataclass(frozen=True)
class StoredLedger:
    """What there is to read: head, tiles, and payloads by their SHA-256. What is None is not checked."""

    tree: CompactRange
    checkpoint: str | None
    read: TileReader
    payload: Callable[[str], bytes]
    index: Callable[[Tile], BundleIndex | None] | None = None
    """Gives by what a bundle is found. Over HTTP it is not to be had."""

    key: str | None = None
    """The line of the key that the head names as its own."""


def check_ledger(stored: StoredLedger, log_key: VerifierKey, bundles: range | None = None) -> Iterator[Finding]:
    """Yield every difference; none means that no byte was changed since the log signed it.

    `bundles` is a part of them, without gaps and from left to right: then the tiles to the left are taken as they are,
    and the head is checked with the last part. Where a bundle cannot be read the tree cannot be built any further, and
    the search ends with it.
    """
    size = stored.tree.end
    every = range(-(-size // TILE_WIDTH))
    chosen = every if bundles is None else every[bundles.start : bundles.stop]
    first = min(size, chosen.start * TILE_WIDTH)
    try:
        built = tree_from_tiles(first, stored.read)
    except LedgerError as error:
        yield Finding(f"tiles before entry {first}", str(error))
        return
    unfinished: dict[Tile, bytes] = {}

    def begun(tile: Tile) -> bytes | None:
        return unfinished.get(tile.full) or stored.read(tile)

    for index in chosen:
        bundle = Tile(None, index, min(TILE_WIDTH, size - index * TILE_WIDTH))
        try:
            entries = bundle_entries(stored.read, bundle)
            growth = grow(built, entries, begun)
        except LedgerError as error:
            yield Finding(bundle.path, str(error))
            return
        yield from entry_findings(entries, built.end, lambda _index, sha256: stored.payload(sha256))
        yield from _check_index(stored, bundle, entries)
        built = growth.tree
        unfinished.update({tile.full: held for tile, held in growth.tiles.items()})
        yield from _check_finished(stored, growth.tiles, unfinished)
    if built.end == size:
        yield from _check_head(stored, built, log_key)
    else:
        yield from _check_unfinished(stored, unfinished)


def _check_finished(stored: StoredLedger, written: Iterable[Tile], unfinished: dict[Tile, bytes]) -> Iterator[Finding]:
    """Check the tiles that are as wide now as they are in the whole tree; forget those that are full."""
    for tile in finished(written, stored.tree.end):
        if stored.read(tile) != unfinished[tile.full]:
            yield Finding(tile.path, "is not what the entries make it")
        if tile.width == TILE_WIDTH:
            del unfinished[tile.full]


def _check_unfinished(stored: StoredLedger, unfinished: dict[Tile, bytes]) -> Iterator[Finding]:
    """Check the beginnings of tiles that the next part goes on with."""
    for tile, held in unfinished.items():
        if not (stored.read(tile) or b"").startswith(held):
            yield Finding(tile.path, "does not begin as the entries make it")


def _check_index(stored: StoredLedger, bundle: Tile, entries: list[bytes]) -> Iterator[Finding]:
    if stored.index is None:
        return
    try:
        if stored.index(bundle) != index_of(encode_entries(entries)):
            yield Finding(f"index of {bundle.path}", "does not name the entries")
    except LedgerError as error:
        yield Finding(f"index of {bundle.path}", str(error))


def bundle_entries(read: TileReader, bundle: Tile) -> list[bytes]:
    """Return the entries of a bundle.

    Raises:
        TileMissing: it is not there, or not as wide as it should be.
        MalformedTile: it is no bundle.
    """
    held = read(bundle)
    if held is None:
        raise TileMissing("is not there")
    entries = decode_entries(held)
    if len(entries) != bundle.width:
        raise TileMissing(f"has {len(entries)} entries, and should have {bundle.width}")
    return entries


def entry_findings(entries: list[bytes], first: int, payload: PayloadReader) -> Iterator[Finding]:
    """Yield what is wrong with entries, of which the first is entry `first` of the ledger, and with their payloads."""
    for index, leaf in enumerate(entries, start=first):
        try:
            entry = parse_entry(leaf)
            if entry.payload_digest is not None:
                check_payload(entry, payload(index, entry.payload_digest.sha256))
        except LedgerError as error:
            yield Finding(f"entry {index}", str(error))


def finished(written: Iterable[Tile], size: int) -> list[Tile]:
    """Return the tiles that are as wide as they are in the tree of `size` leaves."""

    def width(tile: Tile) -> int:
        count = size >> (TILE_HEIGHT * (tile.level or 0))
        return min(TILE_WIDTH, count - tile.index * TILE_WIDTH)

    return [tile for tile in written if tile.width == width(tile)]


def _check_head(stored: StoredLedger, built: CompactRange, log_key: VerifierKey) -> Iterator[Finding]:
    if stored.key is not None and stored.key != str(log_key):
        yield Finding("head", "names another key than the log's")
    if built != stored.tree:
        yield Finding("head", "the hashes are not those of the entries")
    if stored.checkpoint is None:
        if built.end:
            yield Finding("head", "there are entries and no checkpoint")
        return
    try:
        checkpoint = open_checkpoint(parse_note(stored.checkpoint), log_key)
    except LedgerError as error:
        yield Finding("head", str(error))
        return
    if (checkpoint.size, checkpoint.root) != (built.end, built.root):
        yield Finding("head", "the log has signed another tree than the one of the entries")
