"""The `ledger` collection: the head of the tree, its tiles and bundles, and payloads that are too large for a bundle.

A batch is one commit on condition that the head has not changed since it was read. Whoever else appends at the same
time loses its whole commit, so that the tree never forks; and there is no moment at which a part of a batch is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.cloud import firestore

from agent_mesh.ledger.errors import TileMissing
from agent_mesh.ledger.growth import Growth
from agent_mesh.ledger.notes import Note
from agent_mesh.ledger.tiles import ENTRIES, Tile
from agent_mesh.ledger.tree import CompactRange
from agent_mesh.platform.firestore import FirestoreClient, firestore_errors

COLLECTION: Final = "ledger"
HEAD: Final = "head"


@dataclass(frozen=True)
class Head:
    """The tree as it was last committed; `update_time` is Firestore's, None where nothing was committed yet."""

    tree: CompactRange
    checkpoint: str | None = None
    update_time: Any = None


class LedgerStore:
    """The documents of one ledger."""

    def __init__(self, database: FirestoreClient) -> None:
        """Keep the ledger in this database."""
        self._database = database

    def head(self) -> Head:
        """Return the head; that of the empty tree where there is none."""
        with firestore_errors():
            found = self._document(HEAD).get()
        if not found.exists:
            return Head(CompactRange())
        fields = found.to_dict() or {}
        tree = CompactRange(0, fields["size"], tuple(fields["hashes"]))
        return Head(tree, fields["checkpoint"], found.update_time)

    def read(self, tile: Tile) -> bytes | None:
        """Return the bytes of a tile or bundle, however wide it is by now; None if there is none."""
        with firestore_errors():
            found = self._document(_tile_id(tile)).get()
        held: bytes | None = (found.to_dict() or {})["held"] if found.exists else None
        return held

    def payload(self, sha256: str) -> bytes:
        """Return the payload that an entry names by its digest, unchecked.

        Raises:
            TileMissing: it is not there.
        """
        with firestore_errors():
            found = self._document(_payload_id(sha256)).get()
        if not found.exists:
            raise TileMissing(f"the payload with SHA-256 {sha256} is not there")
        held: bytes = (found.to_dict() or {})["held"]
        return held

    def commit(self, before: Head, growth: Growth, checkpoint: Note, payloads: Mapping[str, bytes]) -> Head:
        """Write a batch: payloads by their SHA-256, tiles, bundles and the head, all or nothing.

        Raises:
            LostRace: the head is no longer `before`.
        """
        batch = self._database.batch()
        for sha256, held in payloads.items():
            batch.set(self._document(_payload_id(sha256)), {"held": held})
        for tile, held in growth.tiles.items():
            batch.set(self._document(_tile_id(tile)), {"held": held})
        head = {"size": growth.tree.end, "hashes": list(growth.tree.hashes), "checkpoint": str(checkpoint)}
        if before.update_time is None:
            batch.create(self._document(HEAD), head)
        else:
            batch.update(self._document(HEAD), head, option=self._database.unchanged_since(before.update_time))
        with firestore_errors():
            written = batch.commit()
        return Head(growth.tree, str(checkpoint), written[-1].update_time)

    def _document(self, document_id: str) -> firestore.DocumentReference:
        return self._database.collection(COLLECTION).document(document_id)


def _tile_id(tile: Tile) -> str:
    """A tile keeps its document while it grows: the width is no part of the id."""
    return f"{ENTRIES if tile.level is None else f'tile-{tile.level}'}-{tile.index}"


def _payload_id(sha256: str) -> str:
    return f"payload-{sha256}"
