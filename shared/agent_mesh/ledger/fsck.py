"""Reads a whole ledger again, builds the tree anew from its entries, and says where what is stored differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from agent_mesh.ledger.bundles import decode_entries
from agent_mesh.ledger.checkpoints import open_checkpoint
from agent_mesh.ledger.entries import check_payload, parse_entry
from agent_mesh.ledger.errors import LedgerError, TileMissing
from agent_mesh.ledger.growth import TileReader, grow
from agent_mesh.ledger.keys import VerifierKey
from agent_mesh.ledger.notes import parse_note
from agent_mesh.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, tiles_of
from agent_mesh.ledger.tree import CompactRange


@dataclass(frozen=True)
class Finding:
    """Something that is not as the entries and the log's signature say."""

    place: str
    """Path of a tile or bundle, number of an entry, or `head`."""

    fault: str


@dataclass(frozen=True)
class StoredLedger:
    """What there is to read: head, tiles, and payloads by their SHA-256."""

    tree: CompactRange
    checkpoint: str | None
    read: TileReader
    payload: Callable[[str], bytes]


def check_ledger(stored: StoredLedger, log_key: VerifierKey) -> Iterator[Finding]:
    """Yield every difference; none means that no byte was changed since the log signed it.

    Where a bundle cannot be read the tree cannot be built any further, and the search ends with it.
    """
    built = CompactRange()
    unfinished: dict[Tile, bytes] = {}

    def begun(tile: Tile) -> bytes | None:
        return unfinished.get(tile.full)

    for bundle in tiles_of(stored.tree.end):
        if bundle.level is not None:
            break
        try:
            entries = _entries(stored.read, bundle)
        except LedgerError as error:
            yield Finding(bundle.path, str(error))
            return
        yield from _check_entries(entries, built.end, stored.payload)
        growth = grow(built, entries, begun)
        built = growth.tree
        unfinished.update({tile.full: held for tile, held in growth.tiles.items()})
        for tile in _finished(growth.tiles, stored.tree.end):
            if stored.read(tile) != unfinished[tile.full]:
                yield Finding(tile.path, "is not what the entries make it")
            if tile.width == TILE_WIDTH:
                del unfinished[tile.full]
    yield from _check_head(stored, built, log_key)


def _entries(read: TileReader, bundle: Tile) -> list[bytes]:
    held = read(bundle)
    if held is None:
        raise TileMissing("is not there")
    entries = decode_entries(held)
    if len(entries) != bundle.width:
        raise TileMissing(f"has {len(entries)} entries, and by the head it is {bundle.width}")
    return entries


def _check_entries(entries: list[bytes], first: int, payload: Callable[[str], bytes]) -> Iterator[Finding]:
    for index, leaf in enumerate(entries, start=first):
        try:
            entry = parse_entry(leaf)
            if entry.payload_digest is not None:
                check_payload(entry, payload(entry.payload_digest.sha256))
        except LedgerError as error:
            yield Finding(f"entry {index}", str(error))


def _finished(written: Iterable[Tile], size: int) -> list[Tile]:
    """Return those that are as wide as they are in the tree of `size` leaves."""

    def width(tile: Tile) -> int:
        count = size >> (TILE_HEIGHT * (tile.level or 0))
        return min(TILE_WIDTH, count - tile.index * TILE_WIDTH)

    return [tile for tile in written if tile.width == width(tile)]


def _check_head(stored: StoredLedger, built: CompactRange, log_key: VerifierKey) -> Iterator[Finding]:
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
