"""Gives entries their places: one commit a batch, each entry once, however many sequencers there are.

An entry is known again by its id. Those of the newest entries are in memory; older ones are looked up in the index that
stands beside the bundles, and only what was in the ledger before the head was read can be missing from memory. What
comes in later changes the head, and the commit that did not see it is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from agent_mesh.contracts.values import PAYLOAD_LIMIT_BYTES
from agent_mesh.ledger.bundle_index import digest_of
from agent_mesh.ledger.bundles import decode_entries, decode_hashes
from agent_mesh.ledger.checkpoints import Checkpoint, open_checkpoint
from agent_mesh.ledger.entries import AuditEntry, LedgerLeaf, parse_entry, to_leaf
from agent_mesh.ledger.errors import HeadRefused, LedgerError, TileMissing
from agent_mesh.ledger.growth import Growth, grow, nodes_from_tiles, tree_from_tiles
from agent_mesh.ledger.known_entries import KnownEntries
from agent_mesh.ledger.notes import Note, parse_note
from agent_mesh.ledger.proofs import NodeReader
from agent_mesh.ledger.signers import Signer, sign_note, verifier_key
from agent_mesh.ledger.store import Head, LedgerStore
from agent_mesh.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, touched
from agent_mesh.ledger.tree import MAX_SIZE, leaf_hash
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.firestore import LostRace, until_settled

LARGEST_COMMIT: Final = 4096
"""Most entries of one commit."""

COMMIT_BYTES: Final = 4 * 1024 * 1024
"""Of new entries and payloads. Firestore takes 10 MiB a request, and old parts of bundles and tiles come on top."""


@dataclass(frozen=True)
class Placed:
    """Where an entry stands in the ledger."""

    index: int
    entry_id: str


@dataclass(frozen=True)
class Candidate:
    """An entry that wants a place."""

    entry_id: str
    leaf: LedgerLeaf
    absent_before: int = 0
    """How many of the ledger's first entries it is certainly none of: those that were there when it was looked up."""

    @property
    def size(self) -> int:
        """Bytes that it adds to a commit."""
        return len(self.leaf.entry) + len(self.leaf.payload or b"")


@dataclass(frozen=True)
class Committed:
    """What one commit came to; `checkpoint` is the tree's after it."""

    places: Mapping[str, int]
    added: Mapping[str, LedgerLeaf]
    """What was not there before, by its id."""

    checkpoint: Checkpoint
    note: Note
    """The checkpoint as it was signed."""

    nodes: NodeReader
    """Reads that tree, for proofs; safe for threads."""


class Sequencer:
    """Appends batches. Safe for threads; any number of processes may run one each on the same ledger."""

    def __init__(self, store: LedgerStore, signer: Signer) -> None:
        """Append to the ledger in `store`, whose origin is the signer's name."""
        self._store = store
        self._signer = signer
        self._lock = threading.Lock()
        self._known = KnownEntries()
        self._head: Head | None = None
        self._tail: dict[Tile, bytes] = {}

    def append(self, entries: Sequence[AuditEntry]) -> list[Placed]:
        """Return the place of each entry, in order; one whose id is there already keeps the place that it has.

        An error may come after the commit: append the same entries again, nothing is added twice.

        Raises:
            MalformedEntry: an entry has no canonical JSON; nothing of the batch was added.
            Unavailable: the database is out of reach, or too many append at once.
        """
        committed = [self.commit(part) for part in parts([candidate(entry) for entry in entries])]
        places = {entry_id: index for each in committed for entry_id, index in each.places.items()}
        return [Placed(places[entry.id], entry.id) for entry in entries]

    def look_up(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Look up now which candidates are in the ledger, beside other threads that do the same, not in the commit.

        Raises:
            Unavailable: the database is out of reach.
        """
        with self._lock:
            there = self._known.end
            asked = [each.entry_id for each in candidates if self._must_be_looked_up(each)]
        absent = set(asked) - self._store.places(asked).keys()
        return [replace(each, absent_before=there) if each.entry_id in absent else each for each in candidates]

    def commit(self, candidates: Sequence[Candidate]) -> Committed:
        """Give each candidate its place, in one commit; one whose id is there already keeps the place that it has.

        There has to be at least one.

        Raises:
            Unavailable: the database is out of reach, or too many append at once.
            HeadRefused, TileMissing, Malformed: what is stored was changed; nothing is signed on top of it.
        """
        distinct: dict[str, Candidate] = {}
        for each in candidates:
            distinct.setdefault(each.entry_id, each)
        with self._lock:
            try:
                return until_settled(partial(self._commit_once, distinct))
            except BaseException:
                self._forget_head()  # whether the commit came through is not known
                raise

    def _commit_once(self, candidates: Mapping[str, Candidate]) -> Committed:
        head = self._head or self._read_head()
        places = self._places(candidates)
        if any(place >= head.tree.end for place in places.values()):
            self._forget_head()
            raise LostRace("others have appended since the head was read: that tree has no proof of their entries")
        fresh = {entry_id: each.leaf for entry_id, each in candidates.items() if entry_id not in places}
        if fresh:
            self._write(head, fresh)
            places |= {entry_id: head.tree.end + at for at, entry_id in enumerate(fresh)}
        return self._committed(places, fresh, self._head or head)

    def _committed(self, places: Mapping[str, int], added: Mapping[str, LedgerLeaf], head: Head) -> Committed:
        checkpoint = Checkpoint(self._signer.name, head.tree.end, head.tree.root)
        nodes = nodes_from_tiles(head.tree.end, self._read)
        return Committed(places, added, checkpoint, parse_note(head.checkpoint or ""), nodes)

    def _places(self, candidates: Mapping[str, Candidate]) -> dict[str, int]:
        """Return where those candidates stand that are in the ledger."""
        known = {entry_id: self._known.place(entry_id) for entry_id in candidates}
        asked = [entry_id for entry_id, each in candidates.items() if self._must_be_looked_up(each)]
        return {entry_id: index for entry_id, index in known.items() if index is not None} | self._store.places(asked)

    def _must_be_looked_up(self, each: Candidate) -> bool:
        return self._known.place(each.entry_id) is None and each.absent_before < self._known.begin

    def _write(self, head: Head, fresh: Mapping[str, LedgerLeaf]) -> None:
        growth = grow(head.tree, [leaf.entry for leaf in fresh.values()], self._read)
        checkpoint = Checkpoint(self._signer.name, growth.tree.end, growth.tree.root)
        note, key = sign_note(checkpoint.text, self._signer), str(verifier_key(self._signer))
        crash_point("ledger.before_commit")
        try:
            self._head = self._store.commit(head, growth, note, key, dict(_kept_beside(fresh)))
        except LostRace:
            self._forget_head()
            raise
        crash_point("ledger.committed")
        self._keep_tail(growth)
        self._known.learn([digest_of(entry_id) for entry_id in fresh], head.tree.end)

    def _read_head(self) -> Head:
        """Read the head, and the ids of what others have appended since it was last read."""
        head = self._store.head()
        self._check_head(head)
        self._check_tail(head)
        size = head.tree.end
        begin = self._known.unread(size)
        for bundle in touched(begin, size):
            if bundle.level is None:
                first = max(begin, bundle.index * TILE_WIDTH)
                self._known.learn(self._digests(bundle)[first % TILE_WIDTH :], first)
        self._head = head
        return head

    def _check_head(self, head: Head) -> None:
        """Sign nothing on top of a tree that this key has not signed, or of one that has lost entries.

        Raises:
            HeadRefused: somebody else has changed the head.
        """
        if head.tree.end < self._known.end:
            raise HeadRefused(f"the ledger had {self._known.end} entries, and its head says {head.tree.end}")
        if head.checkpoint is None:
            return
        try:
            signed = open_checkpoint(parse_note(head.checkpoint), verifier_key(self._signer))
        except LedgerError as error:
            raise HeadRefused(f"the head's checkpoint is not this ledger's: {error}") from error
        if (signed.size, signed.root) != (head.tree.end, head.tree.root):
            raise HeadRefused("the head's hashes are not those that were signed")

    def _check_tail(self, head: Head) -> None:
        """Read what the next commit writes anew, and check that it is what was signed; keep it for that commit.

        Raises:
            HeadRefused: somebody else has changed it. What is written over it would be the end of the evidence.
            TileMissing, Malformed: it is not there, or no tile.
        """
        size = head.tree.end
        if tree_from_tiles(size, self._read_tail) != head.tree:
            raise HeadRefused("the tiles at the end of the ledger are not those that were signed")
        number, width = divmod(size, TILE_WIDTH)
        if not width:
            return
        entries = decode_entries(self._existing(Tile(None, number, width)))[:width]
        hashes = decode_hashes(self._existing(Tile(0, number, width)))[:width]
        if [leaf_hash(entry) for entry in entries] != hashes:
            raise HeadRefused("the entries at the end of the ledger are not those that were signed")

    def _read_tail(self, tile: Tile) -> bytes | None:
        held = self._read(tile)
        if held is not None:
            self._tail[tile.full] = held
        return held

    def _existing(self, tile: Tile) -> bytes:
        held = self._read_tail(tile)
        if held is None:
            raise TileMissing(f"{tile.path} is not there")
        return held

    def _digests(self, bundle: Tile) -> tuple[bytes, ...]:
        index = self._store.index(bundle)
        if index is None or len(index.entry_ids) < bundle.width:
            raise TileMissing(f"{bundle.path} is not there, or is narrower")
        return index.entry_ids[: bundle.width]

    def _read(self, tile: Tile) -> bytes | None:
        """Read what is partial of the newest tree: where this sequencer wrote it, it still has it."""
        return self._tail.get(tile.full) or self._store.read(tile)

    def _keep_tail(self, growth: Growth) -> None:
        for tile, held in growth.tiles.items():
            self._tail[tile.full] = held
        size = growth.tree.end
        self._tail = {tile: held for tile, held in self._tail.items() if not _filled(tile, size)}

    def _forget_head(self) -> None:
        self._head = None
        self._tail = {}


def candidate(entry: AuditEntry, *, new: bool = False) -> Candidate:
    """Return an entry as one that wants a place; `new` if its id was made for it just now, so that nobody has it.

    Raises:
        MalformedEntry: it has no canonical JSON.
    """
    return Candidate(entry.id, to_leaf(entry), MAX_SIZE if new else 0)


def parts(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Yield candidates in as few parts as fit into one commit each."""
    part, size = list[Candidate](), 0
    for each in candidates:
        part.append(each)
        size += each.size
        if size > COMMIT_BYTES - PAYLOAD_LIMIT_BYTES or len(part) == LARGEST_COMMIT:
            yield part
            part, size = [], 0
    if part:
        yield part


def _filled(tile: Tile, size: int) -> bool:
    """Return whether the tile at this place is full in the tree of `size` leaves."""
    return (tile.index + 1) * TILE_WIDTH <= size >> (TILE_HEIGHT * (tile.level or 0))


def _kept_beside(leaves: Mapping[str, LedgerLeaf]) -> Iterator[tuple[str, bytes]]:
    for leaf in leaves.values():
        digest = parse_entry(leaf.entry).payload_digest if leaf.payload is not None else None
        if digest is not None and leaf.payload is not None:
            yield digest.sha256, leaf.payload
