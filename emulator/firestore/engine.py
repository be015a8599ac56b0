"""Everything that the methods share: documents, transactions, usage, faults, indexes and storage."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from grpc import StatusCode

from emulator.firestore.clock import MICROS, Clock
from emulator.firestore.documents import Documents
from emulator.firestore.faults import Faults
from emulator.firestore.indexes import Declared, load_indexes, require_index
from emulator.firestore.options import FirestoreOptions
from emulator.firestore.query import Query
from emulator.firestore.storage import Storage, from_bytes, stored_from, to_bytes
from emulator.firestore.transactions import CommitOutcome, Transactions
from emulator.firestore.transforms import MILLISECOND
from emulator.firestore.usage import Usage
from emulator.firestore.writes import Kind, PlannedWrite
from emulator.refusals import Refusal


class Engine:
    """One server's state. Everything happens on one event loop, so nothing here needs a lock."""

    def __init__(self, options: FirestoreOptions) -> None:
        """Start with what the storage holds, or empty."""
        self.options = options
        self.clock = Clock()
        self.born = self.clock.now()
        self.life = os.urandom(8)
        self.usage = Usage()
        self.faults = Faults()
        self.declared = load_indexes(options.indexes) if options.indexes else Declared()
        self.indexes_required = options.indexes is not None and options.require_indexes
        self.documents = Documents(self.clock, options.history_seconds, options.history_bytes)
        self.transactions = Transactions(self.documents, self.clock, options.concurrency, options.lock_wait_seconds)
        self._storage = Storage(options.storage) if options.storage else None
        if self._storage:
            self.documents.replace(map(stored_from, self._storage.load()))
            self.documents.observers.append(self._storage.observe)
        self.documents.observers += [self.usage.observe, self.transactions.observe]

    async def commit(
        self, method: str, database: str, writes: Sequence[PlannedWrite], transaction: bytes
    ) -> CommitOutcome:
        """Do all writes or none, and count them. Raises Refusal."""
        await self._next_server_timestamp(database, writes)
        try:
            done = await self.transactions.commit(database, writes, transaction)
        except Refusal as refusal:
            if refusal.code is not StatusCode.INVALID_ARGUMENT:
                self.usage.wrote(method, refused=len(writes))
            raise
        kinds = [write.kind for write in writes]
        updated, deleted, verified = map(kinds.count, (Kind.UPDATE, Kind.DELETE, Kind.VERIFY))
        self.usage.wrote(method, writes=updated, deletes=deleted, verified=verified)
        return done

    async def _next_server_timestamp(self, database: str, writes: Sequence[PlannedWrite]) -> None:
        """Let a document's next server timestamp, which has milliseconds, differ from its last one.

        Of those that wait for the same millisecond, one has it. A clock that stands still gives one time to all.
        """
        paths = {write.name.path for write in writes if any(each.timed for each in write.transforms)}
        found = self.documents.database(database)
        while paths:
            latest = max((before.updated for path in paths if (before := found.read(path))), default=0)
            now = self.clock.now()
            wait = latest - latest % MILLISECOND + MILLISECOND - now
            if not 0 < wait <= MILLISECOND:
                return
            await asyncio.sleep(wait / MICROS)
            if self.clock.now() == now:
                return

    def require_index(self, query: Query) -> None:
        """Refuse a query that needs an index which is not declared, if that is wanted. Raises Refusal."""
        if self.indexes_required:
            require_index(self.declared, query)

    def clear(self) -> None:
        """Forget documents, transactions, usage and faults."""
        self.transactions.clear()
        self.documents.replace([])
        self.usage.clear()
        self.faults.clear()

    def snapshot(self) -> bytes:
        """All documents as they are."""
        return to_bytes(document for _, document in self.documents.everything())

    def restore(self, snapshot: bytes) -> None:
        """Put the documents of a snapshot in the place of all; open transactions end. Raises ValueError."""
        documents = from_bytes(snapshot)
        self.transactions.clear()
        self.documents.replace(documents)

    def close(self) -> None:
        """Close the storage."""
        if self._storage:
            self._storage.close()
