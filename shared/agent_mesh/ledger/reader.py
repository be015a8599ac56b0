"""Reads the ledger, in process: records of a transaction, receipts, proofs and tiles. It changes nothing.

What is read is not verified here: a receipt is made to be verified by whoever gets it, and `fsck` reads everything
again. Whoever asks for what is not there meets the same errors as a caller over HTTP.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_mesh.contracts.problems import InvalidRequest, NotFound
from agent_mesh.contracts.values import canonical_json
from agent_mesh.ledger.bundles import decode_entries, entries_end
from agent_mesh.ledger.checkpoints import parse_checkpoint
from agent_mesh.ledger.cosigned import CosignedStore, covering, newest
from agent_mesh.ledger.entries import AuditEntry, LedgerLeaf, parse_entry
from agent_mesh.ledger.errors import LedgerError, MalformedTile, OutOfRange, TileMissing
from agent_mesh.ledger.growth import nodes_from_tiles
from agent_mesh.ledger.keys import VerifierKey, parse_verifier_key
from agent_mesh.ledger.notes import Note, parse_note
from agent_mesh.ledger.proofs import NodeReader, consistency_proof, inclusion_proof
from agent_mesh.ledger.receipts import Receipt
from agent_mesh.ledger.store import Head, LedgerStore
from agent_mesh.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, parse_tile_path
from agent_mesh.ledger.tree import HASH_BYTES
from agent_mesh.platform.logs import log

RECORDS_AT_ONCE: Final = 200
"""Most records of one page."""

_BUNDLES_AT_ONCE: Final = 4
"""A bundle may have 1 MB."""

_READS_A_PAGE: Final = 64
"""Most reads of bundles for one page: nobody makes an instance read a whole ledger by a name."""

_CACHED_TILES: Final = 512
"""Full tiles of 8 KiB: they never change."""


@dataclass(frozen=True)
class LedgerRecord:
    """One entry as it stands in the ledger."""

    index: int
    entry: AuditEntry
    text: str
    """Canonical JSON, whose UTF-8 bytes the tree hashes."""


@dataclass(frozen=True)
class RecordPage:
    """Records of a transaction in the ledger's order, and the index from which the next page reads, if there is one."""

    records: tuple[LedgerRecord, ...]
    next_index: int | None


@dataclass(frozen=True)
class ServedTile:
    """The bytes of a tile or bundle, exactly as wide as it was asked for; a full one never changes."""

    tile: Tile
    held: bytes

    @property
    def full(self) -> bool:
        """Whether it has all its hashes or entries."""
        return self.tile.width == TILE_WIDTH


class LedgerReader:
    """Reads one ledger. Safe for threads."""

    def __init__(self, store: LedgerStore, cosigned: CosignedStore | None = None) -> None:
        """Read what is in `store`, and with `cosigned` show cosignatures; nothing connects yet."""
        self._store = store
        self._kept = cosigned
        self._lock = threading.Lock()
        self._tiles: dict[Tile, bytes] = {}

    def size(self) -> int:
        """Return how many entries there are."""
        return self._store.head().tree.end

    def checkpoint(self) -> str:
        """Return the newest checkpoint, a signed note, with its cosignatures where it has some already.

        Raises:
            NotFound: nothing was ever appended.
        """
        head, checkpoint = self._signed_head()
        return str(newest(checkpoint, self._cosigned(head)))

    def key(self) -> VerifierKey:
        """Return the key that the ledger says to be its own. Whoever wants proof must know it from elsewhere.

        Raises:
            NotFound: nothing was ever appended.
        """
        head, _ = self._signed_head()
        return parse_verifier_key(head.key or "")

    def records_of(
        self,
        tx_id: str,
        wanted: Callable[[LedgerRecord], bool] = lambda _record: True,
        *,
        from_index: int = 0,
        limit: int = RECORDS_AT_ONCE,
    ) -> RecordPage:
        """Return the records of a transaction that are `wanted`, up to `limit` of them; none if nobody knows it.

        `from_index` is `next_index` of the page before. A page may be short, and yet not the last one, where a
        transaction is spread over very many bundles.
        """
        found: list[LedgerRecord] = []
        bundle = from_index // TILE_WIDTH
        for _ in range(_READS_A_PAGE):
            bundles = self._store.bundles_of(tx_id, bundle, _BUNDLES_AT_ONCE)
            for number, held in bundles:
                records = _records(number, held, tx_id)
                found += [record for record in records if record.index >= from_index and wanted(record)]
            if len(found) > limit:
                return RecordPage(tuple(found[:limit]), found[limit].index)
            if len(bundles) < _BUNDLES_AT_ONCE:
                return RecordPage(tuple(found), None)
            bundle = bundles[-1][0] + 1
        return RecordPage(tuple(found), bundle * TILE_WIDTH)

    def record(self, index: int) -> LedgerRecord:
        """Return the entry at `index`.

        Raises:
            NotFound: the ledger has no such entry.
        """
        return self.records([index])[0]

    def records(self, indices: Sequence[int]) -> list[LedgerRecord]:
        """Return the entries at these indices, in that order; each bundle is read once.

        Raises:
            NotFound: the ledger has no such entry.
        """
        if not indices:
            return []
        size = self._store.head().tree.end
        bundles: dict[int, list[bytes]] = {}
        for index in indices:
            if not 0 <= index < size:
                raise NotFound(f"There is no entry {index} in a ledger of {size}.")
            number = index // TILE_WIDTH
            if number not in bundles:
                bundles[number] = decode_entries(self._existing(Tile(None, number)))
        return [_record(index, bundles[index // TILE_WIDTH][index % TILE_WIDTH]) for index in indices]

    def receipt(self, index: int) -> Receipt:
        """Return the receipt of the entry at `index`, under the newest checkpoint.

        Raises:
            NotFound: the ledger has no such entry.
        """
        return self.receipts(self.records([index]))[0]

    def receipts(self, records: Sequence[LedgerRecord]) -> list[Receipt]:
        """Return a receipt for each record, all under one checkpoint.

        It is the newest that witnesses have cosigned, if that covers all the records, and else the newest.

        Raises:
            NotFound: a record is not in the ledger.
        """
        if not records:
            return []
        head, checkpoint = self._signed_head()
        checkpoint = covering(max(record.index for record in records), checkpoint, self._cosigned(head))
        size = parse_checkpoint(checkpoint.text).size
        nodes = nodes_from_tiles(size, self._tile)
        return [self._receipt(record, size, nodes, checkpoint) for record in records]

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that leaf `index` is in the tree of `size` leaves; None: of all there are.

        Raises:
            InvalidRequest: the ledger was never so large, or a tree of that size has no such leaf.
        """
        return self._proof(size, lambda nodes, proven: inclusion_proof(nodes, index, proven))

    def consistency(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        """Return the proof that the tree of `old_size` leaves is how the one of `new_size` began; None: of all.

        Raises:
            InvalidRequest: the ledger was never so large, the sizes are reversed, or the older tree is empty.
        """
        return self._proof(new_size, lambda nodes, proven: consistency_proof(nodes, old_size, proven))

    def tile(self, path: str) -> ServedTile:
        """Return the tile or bundle with a path such as `tile/0/x001/x234/067.p/8`, exactly as wide as it says.

        Raises:
            InvalidRequest: the path names no tile.
            NotFound: the ledger does not have it, or not yet so wide.
        """
        try:
            tile = parse_tile_path(path)
        except MalformedTile as error:
            raise InvalidRequest(str(error)) from error
        size = self._store.head().tree.end
        there = min(TILE_WIDTH, (size >> (TILE_HEIGHT * (tile.level or 0))) - tile.index * TILE_WIDTH)
        if there < tile.width:
            raise NotFound(f"A ledger of {size} entries has no {tile.path}.")
        return ServedTile(tile, self._cut(tile))

    def _cosigned(self, head: Head) -> Note | None:
        """Return the checkpoint that witnesses have cosigned; None where there is none, or the ledger is behind it."""
        if self._kept is None:
            return None
        try:
            kept = self._kept.read()
        except LedgerError as error:
            log(f"receipts go without cosignatures: {error}", level=logging.ERROR)
            return None
        return kept.note if kept.size <= head.tree.end else None

    def _signed_head(self) -> tuple[Head, Note]:
        head = self._store.head()
        if head.checkpoint is None:
            raise NotFound("The ledger has no entries yet, and so no checkpoint.")
        return head, parse_note(head.checkpoint)

    def _receipt(self, record: LedgerRecord, size: int, nodes: NodeReader, checkpoint: Note) -> Receipt:
        if record.index >= size:
            raise NotFound(f"There is no entry {record.index} in a ledger of {size}.")
        digest = record.entry.payload_digest
        payload = self._store.payload(digest.sha256) if digest else None
        proof = inclusion_proof(nodes, record.index, size)
        return Receipt.of(LedgerLeaf(record.text.encode(), payload), record.index, proof, checkpoint)

    def _proof(self, size: int | None, made: Callable[[NodeReader, int], list[bytes]]) -> list[bytes]:
        there = self._store.head().tree.end
        proven = there if size is None else size
        if proven > there:
            raise InvalidRequest(f"The ledger has {there} entries, and never had {proven}.")
        try:
            return made(nodes_from_tiles(proven, self._tile), proven)
        except OutOfRange as error:
            raise InvalidRequest(f"{error}.") from error

    def _tile(self, tile: Tile) -> bytes | None:
        """Read a tile of hashes; full ones are kept."""
        with self._lock:
            kept = self._tiles.get(tile)
        if kept is not None:
            return kept
        held = self._store.read(tile)
        if held is not None and tile.width == TILE_WIDTH:
            with self._lock:
                self._tiles[tile] = held
                while len(self._tiles) > _CACHED_TILES:
                    del self._tiles[next(iter(self._tiles))]
        return held

    def _existing(self, tile: Tile) -> bytes:
        held = self._store.read(tile)
        if held is None:
            raise TileMissing(f"{tile.path} is not there")
        return held

    def _cut(self, tile: Tile) -> bytes:
        """Return the first hashes or entries of a tile that may have grown since: as they are, nothing encoded anew."""
        if tile.level is not None:
            return _exactly(self._tile(tile), tile.width * HASH_BYTES, tile)
        held = self._existing(tile)
        return _exactly(held, entries_end(held, tile.width), tile)


def _exactly(held: bytes | None, length: int, tile: Tile) -> bytes:
    if held is None or len(held) < length:
        raise TileMissing(f"{tile.path} is not there, or is narrower")
    return held[:length]


def _records(bundle: int, held: bytes, tx_id: str) -> list[LedgerRecord]:
    """Return the records of a transaction in a bundle."""
    named = canonical_json(tx_id).encode()  # which spares parsing most of the entries that are not wanted
    leaves = enumerate(decode_entries(held), start=bundle * TILE_WIDTH)
    records = [_record(index, leaf) for index, leaf in leaves if named in leaf]
    return [record for record in records if record.entry.tx_id == tx_id]


def _record(index: int, leaf: bytes) -> LedgerRecord:
    return LedgerRecord(index, parse_entry(leaf), leaf.decode())
