"""Reads what Firestore has of a ledger, for `fsck`, while others append to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent_mesh.ledger.bundle_index import BundleIndex
from agent_mesh.ledger.bundles import decode_entries, entries_end
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.ledger.fsck import Finding, StoredLedger, check_ledger
from agent_mesh.ledger.keys import VerifierKey
from agent_mesh.ledger.store import Head, LedgerStore
from agent_mesh.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile
from agent_mesh.ledger.tree import HASH_BYTES


@dataclass(frozen=True)
class Inspected:
    """What was found in a part of a ledger."""

    size: int
    findings: tuple[Finding, ...]
    next_bundle: int | None
    """Where the next part begins; None after the last."""


def inspect(store: LedgerStore, log_key: VerifierKey, first_bundle: int, bundles: int) -> Inspected:
    """Read `bundles` bundles from `first_bundle` on again, the tiles over them, and with the last one the head."""
    try:
        head = store.head()
    except LedgerError as error:
        return Inspected(0, (Finding("head", str(error)),), None)
    size = head.tree.end
    end = first_bundle + bundles
    part = range(first_bundle, end)
    at_head = _AtHead(store, head)
    findings = tuple(check_ledger(at_head.stored(), log_key, part))
    if end * TILE_WIDTH < size:
        return Inspected(size, findings, end)
    return Inspected(size, (*findings, *at_head.beyond()), None)


class _AtHead:
    """A ledger as it was at a head. What has grown since is cut back to that; what is longer than that is not."""

    def __init__(self, store: LedgerStore, head: Head) -> None:
        self._store = store
        self._head = head
        self._newest = head.tree.end

    def stored(self) -> StoredLedger:
        """Return what there is to read."""
        head = self._head
        return StoredLedger(head.tree, head.checkpoint, self._read, self._store.payload, self._index, head.key)

    def beyond(self) -> Iterator[Finding]:
        """Yield a bundle that stands behind the last one of the head: the head was set back, or taken away."""
        following = Tile(None, -(-self._head.tree.end // TILE_WIDTH))
        held = self._store.read(following)
        if held is not None and not self._has_grown(following, _width(following, held)):
            yield Finding(following.path, "is there, and by the head it is not")

    def _read(self, tile: Tile) -> bytes | None:
        held = self._store.read(tile)
        if held is None or not self._has_grown(tile, _width(tile, held)):
            return held
        width = _width_at(tile, self._head.tree.end)
        return held[: entries_end(held, width) if tile.level is None else width * HASH_BYTES]

    def _index(self, bundle: Tile) -> BundleIndex | None:
        index = self._store.index(bundle)
        if index is None or not self._has_grown(bundle, len(index.entry_ids)):
            return index
        width = _width_at(bundle, self._head.tree.end)
        return BundleIndex(index.entry_ids[:width], index.tx_ids[:width])

    def _has_grown(self, tile: Tile, width: int) -> bool:
        """Return whether a tile is wider than at the head because the ledger has grown since."""
        if width <= _width_at(tile, self._head.tree.end):
            return False
        if width > _width_at(tile, self._newest):
            self._newest = self._store.head().tree.end
        return width <= _width_at(tile, self._newest)


def _width(tile: Tile, held: bytes) -> int:
    try:
        return len(decode_entries(held)) if tile.level is None else len(held) // HASH_BYTES
    except LedgerError:
        return 0  # what it is, the search says


def _width_at(tile: Tile, size: int) -> int:
    return min(TILE_WIDTH, (size >> (TILE_HEIGHT * (tile.level or 0))) - tile.index * TILE_WIDTH)
