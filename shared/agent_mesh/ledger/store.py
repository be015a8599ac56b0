"""The `ledger` collection: the head of the tree, its tiles and bundles, and payloads that are too large for a bundle.

A batch is one commit on condition that the head has not changed since it was read. Whoever else appends at the same
time loses its whole commit, so that the tree never forks; and there is no moment at which a part of a batch is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from google.cloud import firestore
from google.cloud.firestore_v1.base_document import DocumentSnapshot
from google.cloud.firestore_v1.base_query import FieldFilter

from agent_mesh.ledger.bundle_index import BundleIndex, digest_of, index_of
from agent_mesh.ledger.errors import MalformedHead, TileMissing
from agent_mesh.ledger.growth import Growth
from agent_mesh.ledger.notes import Note
from agent_mesh.ledger.tiles import ENTRIES, TILE_HEIGHT, TILE_WIDTH, Tile
from agent_mesh.ledger.tree import CompactRange
from agent_mesh.platform.firestore import FirestoreClient, firestore_errors

COLLECTION: Final = "ledger"
HEAD: Final = "head"

ASKED_AT_ONCE: Final = 30
"""Most values of an `array_contains_any` (https://firebase.google.com/docs/firestore/query-data/queries)."""

_INDEX_DIGITS: Final = 17
"""Of the largest index of a bundle: ids sort as the numbers do, and a query gives bundles in the ledger's order."""


@dataclass(frozen=True)
class Head:
    """The tree as it was last committed; `update_time` is Firestore's, None where nothing was committed yet."""

    tree: CompactRange = field(default_factory=CompactRange)
    checkpoint: str | None = None
    key: str | None = None
    """Line of the verifier key of who signed the checkpoint. Whoever trusts nobody gets the key elsewhere."""

    update_time: Any = None


class LedgerStore:
    """The documents of one ledger."""

    def __init__(self, database: FirestoreClient) -> None:
        """Keep the ledger in this database."""
        self._database = database

    def head(self) -> Head:
        """Return the head; that of the empty tree where there is none.

        Raises:
            MalformedHead: what is stored is no head.
        """
        with firestore_errors():
            found = self._document(HEAD).get()
        if not found.exists:
            return Head()
        return _head(found.to_dict() or {}, found.update_time)

    def read(self, tile: Tile) -> bytes | None:
        """Return the bytes of a tile or bundle, however wide it is by now; None if there is none."""
        return self._held(_tile_id(tile))

    def index(self, bundle: Tile) -> BundleIndex | None:
        """Return by what a bundle is found, however wide it is by now; None if there is none.

        Raises:
            MalformedHead: what is stored is no index.
        """
        with firestore_errors():
            found = self._document(_tile_id(bundle)).get(["entryIds", "txIds"])
        return _index(found.to_dict() or {}) if found.exists else None

    def places(self, entry_ids: Collection[str]) -> dict[str, int]:
        """Return where in the ledger those of `entry_ids` stand that are there: one query for each 30 of them."""
        wanted = {digest_of(entry_id): entry_id for entry_id in entry_ids}
        digests, found = list(wanted), dict[str, int]()
        ledger = self._database.collection(COLLECTION)
        for start in range(0, len(digests), ASKED_AT_ONCE):
            asked = FieldFilter("entryIds", "array_contains_any", digests[start : start + ASKED_AT_ONCE])
            with firestore_errors():
                bundles = ledger.where(filter=asked).select(["entryIds"]).get()
            for index, digest in _digests(bundles):
                if digest in wanted:
                    found.setdefault(wanted[digest], index)
        return found

    def bundles_of(self, tx_id: str, first_bundle: int, limit: int) -> list[tuple[int, bytes]]:
        """Return index and bytes of up to `limit` bundles, from `first_bundle` on, with entries of a transaction."""
        at = self._document(_tile_id(Tile(None, first_bundle)))
        query = (
            self._database.collection(COLLECTION)
            .where(filter=FieldFilter("txIds", "array_contains", digest_of(tx_id)))
            .order_by("__name__")
            .start_at({"__name__": at})
            .select(["held"])
            .limit(limit)
        )
        with firestore_errors():
            return [(_bundle_number(each.id), each.get("held")) for each in query.get()]

    def payload(self, sha256: str) -> bytes:
        """Return the payload that an entry names by its digest, unchecked.

        Raises:
            TileMissing: it is not there.
        """
        held = self._held(_payload_id(sha256))
        if held is None:
            raise TileMissing(f"the payload with SHA-256 {sha256} is not there")
        return held

    def commit(self, before: Head, growth: Growth, checkpoint: Note, key: str, payloads: Mapping[str, bytes]) -> Head:
        """Write a batch: payloads by their SHA-256, tiles, bundles and the head, all or nothing.

        `key` is the line of the verifier key that verifies the checkpoint.

        Raises:
            LostRace: the head is no longer `before`.
        """
        batch = self._database.batch()
        for sha256, held in payloads.items():
            batch.set(self._document(_payload_id(sha256)), {"held": held})
        for tile, held in growth.tiles.items():
            # What a head knows nothing of must not be there: a head that was set back would overwrite history.
            write = batch.create if _is_new(tile, before.tree.end) else batch.set
            write(self._document(_tile_id(tile)), _tile_fields(tile, held))
        head = {
            "size": growth.tree.end,
            "hashes": list(growth.tree.hashes),
            "checkpoint": str(checkpoint),
            "key": key,
        }
        if before.update_time is None:
            batch.create(self._document(HEAD), head)
        else:
            batch.update(self._document(HEAD), head, option=self._database.unchanged_since(before.update_time))
        with firestore_errors():
            written = batch.commit()
        return Head(growth.tree, str(checkpoint), key, written[-1].update_time)

    def _held(self, document_id: str) -> bytes | None:
        with firestore_errors():
            found = self._document(document_id).get(["held"])
        if not found.exists:
            return None
        held: object = (found.to_dict() or {}).get("held")
        return held if isinstance(held, bytes) else b""

    def _document(self, document_id: str) -> firestore.DocumentReference:
        return self._database.collection(COLLECTION).document(document_id)


def _digests(bundles: Iterable[DocumentSnapshot[Any]]) -> Iterator[tuple[int, bytes]]:
    """Yield index and digest of every entry of these bundles."""
    for each in bundles:
        yield from enumerate(each.get("entryIds"), start=_bundle_number(each.id) * TILE_WIDTH)


def _head(fields: Mapping[str, Any], update_time: object) -> Head:
    size, hashes, checkpoint, key = (fields.get(name) for name in ("size", "hashes", "checkpoint", "key"))
    if type(size) is not int or not _all_bytes(hashes) or not isinstance(checkpoint, str) or not isinstance(key, str):
        raise MalformedHead("a field of the head is missing or of another type")
    return Head(CompactRange(0, size, tuple(hashes)), checkpoint, key, update_time)


def _index(fields: Mapping[str, Any]) -> BundleIndex:
    entry_ids, tx_ids = fields.get("entryIds"), fields.get("txIds")
    if not _all_bytes(entry_ids) or not _all_bytes(tx_ids):
        raise MalformedHead("a field of the index is missing or of another type")
    return BundleIndex(tuple(entry_ids), tuple(tx_ids))


def _all_bytes(values: object) -> TypeGuard[list[bytes]]:
    return isinstance(values, list) and all(isinstance(value, bytes) for value in values)


def _is_new(tile: Tile, size: int) -> bool:
    """Return whether the tree of `size` leaves has nothing of this tile or bundle."""
    return size >> (TILE_HEIGHT * (tile.level or 0)) <= tile.index * TILE_WIDTH


def _tile_fields(tile: Tile, held: bytes) -> dict[str, object]:
    if tile.level is not None:
        return {"held": held}
    index = index_of(held)
    return {"held": held, "entryIds": list(index.entry_ids), "txIds": list(index.tx_ids)}


def _tile_id(tile: Tile) -> str:
    """A tile keeps its document while it grows: the width is no part of the id."""
    kind = ENTRIES if tile.level is None else f"tile-{tile.level}"
    return f"{kind}-{tile.index:0{_INDEX_DIGITS}d}"


def _bundle_number(document_id: str) -> int:
    return int(document_id.removeprefix(f"{ENTRIES}-"))


def _payload_id(sha256: str) -> str:
    return f"payload-{sha256}"
