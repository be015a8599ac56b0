"""Gives entries their places: one commit a batch, each entry once, however many sequencers there are."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from agent_mesh.contracts.values import PAYLOAD_LIMIT_BYTES
from agent_mesh.ledger.bundles import decode_entries
from agent_mesh.ledger.checkpoints import Checkpoint
from agent_mesh.ledger.entries import AuditEntry, LedgerLeaf, parse_entry, to_leaf
from agent_mesh.ledger.errors import TileMissing
from agent_mesh.ledger.growth import grow
from agent_mesh.ledger.signers import Signer, sign_note
from agent_mesh.ledger.store import Head, LedgerStore
from agent_mesh.ledger.tiles import TILE_WIDTH, Tile, touched
from agent_mesh.platform.firestore import until_settled

REMEMBERED: Final = 64 * TILE_WIDTH
"""Entries, counted back from the newest, of which a repetition is known by its id."""

_LARGEST_PART: Final = 4096

_COMMIT_BYTES: Final = 4 * 1024 * 1024
"""Of new entries and payloads. Firestore takes 10 MiB a request, and old parts of bundles and tiles come on top."""


@dataclass(frozen=True)
class Placed:
    """Where an entry stands in the ledger."""

    index: int
    entry_id: str


class Sequencer:
    """Appends batches. Safe for threads; any number of processes may run one each on the same ledger."""

    def __init__(self, store: LedgerStore, signer: Signer) -> None:
        """Append to the ledger in `store`, whose origin is the signer's name."""
        self._store = store
        self._signer = signer
        self._lock = threading.Lock()
        self._known: dict[str, int] = {}
        self._read_to = 0

    def append(self, entries: Sequence[AuditEntry]) -> list[Placed]:
        """Return the place of each entry, in order; one whose id is there already keeps the place that it has.

        An error may come after the commit: append the same entries again, nothing is added twice.

        Raises:
            MalformedEntry: an entry has no canonical JSON; nothing of the batch was added.
            Unavailable: the database is out of reach, or too many append at once.
        """
        leaves: dict[str, LedgerLeaf] = {}
        for entry in entries:
            leaves.setdefault(entry.id, to_leaf(entry))
        places: dict[str, int] = {}
        with self._lock:
            for part in _parts(leaves):
                places |= until_settled(partial(self._append_once, part))
        return [Placed(places[entry.id], entry.id) for entry in entries]

    def _append_once(self, part: dict[str, LedgerLeaf]) -> dict[str, int]:
        head = self._store.head()
        self._catch_up(head)
        places = {entry_id: self._known[entry_id] for entry_id in part if entry_id in self._known}
        fresh = {entry_id: leaf for entry_id, leaf in part.items() if entry_id not in places}
        if fresh:
            self._commit(head, fresh)
        return places | {entry_id: head.tree.end + at for at, entry_id in enumerate(fresh)}

    def _commit(self, head: Head, fresh: dict[str, LedgerLeaf]) -> None:
        growth = grow(head.tree, [leaf.entry for leaf in fresh.values()], self._store.read)
        checkpoint = Checkpoint(self._signer.name, growth.tree.end, growth.tree.root)
        payloads = dict(_kept_beside(fresh))
        self._store.commit(head, growth, sign_note(checkpoint.text, self._signer), payloads)
        self._remember(list(fresh), head.tree.end)

    def _catch_up(self, head: Head) -> None:
        """Read the ids of what others have appended since."""
        size = head.tree.end
        begin = max(self._read_to, size - REMEMBERED)
        for bundle in touched(begin, size):
            if bundle.level is None:
                self._remember(self._ids(bundle, begin), max(begin, bundle.index * TILE_WIDTH))

    def _ids(self, bundle: Tile, begin: int) -> list[str]:
        held = self._store.read(bundle)
        if held is None:
            raise TileMissing(f"{bundle.path} is not there")
        skipped = max(0, begin - bundle.index * TILE_WIDTH)
        return [parse_entry(leaf).id for leaf in decode_entries(held)[skipped : bundle.width]]

    def _remember(self, entry_ids: Sequence[str], first: int) -> None:
        for index, entry_id in enumerate(entry_ids, start=first):
            self._known.setdefault(entry_id, index)
        self._read_to = first + len(entry_ids)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]


def _parts(leaves: dict[str, LedgerLeaf]) -> Iterator[dict[str, LedgerLeaf]]:
    """Yield the entries in as few parts as fit into one commit each."""
    part, size = dict[str, LedgerLeaf](), 0
    for entry_id, leaf in leaves.items():
        part[entry_id] = leaf
        size += len(leaf.entry) + len(leaf.payload or b"")
        if size > _COMMIT_BYTES - PAYLOAD_LIMIT_BYTES or len(part) == _LARGEST_PART:
            yield part
            part, size = {}, 0
    if part:
        yield part


def _kept_beside(leaves: dict[str, LedgerLeaf]) -> Iterator[tuple[str, bytes]]:
    for leaf in leaves.values():
        digest = parse_entry(leaf.entry).payload_digest if leaf.payload is not None else None
        if digest is not None and leaf.payload is not None:
            yield digest.sha256, leaf.payload
