"""Transactions in both of production's modes, and read-only ones at a past time.

Pessimistic (Standard edition): reads lock, a commit waits for the locks of others. Optimistic (Enterprise): reads see
one moment, and a commit is aborted when something it read was changed since. A transaction that starts again with the
id of one that was aborted keeps its place in line.
https://firebase.google.com/docs/firestore/transaction-data-contention
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from emulator.firestore.clock import MICROS, Clock
from emulator.firestore.documents import Change, Commit, Documents
from emulator.firestore.locks import CONTENTION, Locks, Matches, Owner
from emulator.firestore.protocol import Message
from emulator.firestore.values import micros
from emulator.firestore.writes import Batch, PlannedWrite
from emulator.refusals import Refusal, aborted, invalid

_IDLE_SECONDS: Final = 60
_LONGEST_SECONDS: Final = 270
_ID_BYTES: Final = 9
_FIRST_BYTE: Final = b"\x11"
_REMEMBERED: Final = 10_000


class Concurrency(Enum):
    """How read-write transactions keep out of each other's way."""

    PESSIMISTIC = "pessimistic"
    OPTIMISTIC = "optimistic"


@dataclass(eq=False, slots=True)
class Transaction:
    """A transaction that has begun. ``at`` is the time it reads at, None for the present."""

    id: bytes
    database: str
    owner: Owner
    started: int
    read_only: bool
    at: int | None
    used: int
    reads: set[str] = field(default_factory=set)
    lost: bool = False


@dataclass(frozen=True, slots=True)
class CommitOutcome:
    """The results of the writes, in their order, and the commit."""

    results: list[Message]
    commit: Commit


class Transactions:
    """Begins, ends and finds transactions, and commits writes, in one or in none."""

    def __init__(self, documents: Documents, clock: Clock, concurrency: Concurrency, lock_wait: float) -> None:
        """Use one mode for all read-write transactions."""
        self._documents = documents
        self._clock = clock
        self._concurrency = concurrency
        self._lock_wait = lock_wait
        self._locks: dict[str, Locks] = {}
        self._open: dict[bytes, Transaction] = {}
        self._ended: dict[bytes, int] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        """How many transactions are open."""
        return len(self._open)

    def begin(self, database: str, options: Message) -> Transaction:
        """Begin a transaction. Raises Refusal."""
        mode = options.WhichOneof("mode")
        number = next(self._numbers)
        retried = self._ended.get(options.read_write.retry_transaction) if mode == "read_write" else None
        now = self._clock.now()
        read_only = mode == "read_only"
        at = self._start_time(options) if read_only or self._concurrency is Concurrency.OPTIMISTIC else None
        owner = Owner(age=retried or number, exclusive=retried is not None)
        began = Transaction(_id(number), database, owner, now, read_only, at, now)
        self._expire()
        self._open[began.id] = began
        return began

    def find(self, transaction_id: bytes, database: str) -> Transaction:
        """The open transaction with this id. Raises Refusal if there is none."""
        found = self._open.get(transaction_id)
        if found is None or found.database != database:
            known = transaction_id in self._ended or len(transaction_id) == _ID_BYTES
            raise invalid("Transaction is invalid or closed." if known else "Invalid transaction.")
        if self._expired(found):
            self._end(found)
            raise invalid("The referenced transaction has expired or is no longer valid.")
        if found.lost:
            raise aborted(CONTENTION)
        if found.at is not None:
            self._documents.check_read_time(found.at)
        found.used = self._clock.now()
        return found

    async def reading(self, transaction: Transaction, paths: Sequence[str]) -> None:
        """Note, and if need be lock, documents that the transaction is about to read."""
        if transaction.read_only:
            return
        if self._concurrency is Concurrency.PESSIMISTIC:
            try:
                await self._locks_of(transaction.database).read(transaction.owner, paths)
            except Refusal:
                self._end(transaction)  # who lost gives back at once what it holds, before its client rolls back
                raise
        transaction.reads.update(paths)

    async def asking(self, transaction: Transaction, run: Callable[[], Iterable[str]], matches: Matches) -> None:
        """Lock the answer of a query; ``run`` gives the paths of it as it is now."""
        if transaction.read_only:
            return
        self._locks_of(transaction.database).watch(transaction.owner, matches)
        await self.reading(transaction, list(run()))

    async def commit(self, database: str, writes: Sequence[PlannedWrite], transaction_id: bytes) -> CommitOutcome:
        """Do all writes or none. Raises Refusal."""
        transaction = self.find(transaction_id, database) if transaction_id else None
        if transaction and transaction.read_only and writes:
            raise invalid("Cannot modify entities in a read-only transaction.")
        owner = transaction.owner if transaction else Owner(age=0, victim=False)
        try:
            await self._lock(database, owner, writes)
            if transaction:
                self.find(transaction_id, database)  # it may have been rolled back while it waited
                self._check_unchanged(transaction)
            return self._write(database, writes)
        finally:
            if transaction:
                self._end(transaction)

    def rollback(self, database: str, transaction_id: bytes) -> None:
        """End a transaction without writing; one that has ended already may be rolled back again."""
        found = self._open.get(transaction_id)
        if found and found.database == database:
            self._end(found)
        elif transaction_id not in self._ended:
            raise invalid("Invalid transaction.")

    def clear(self) -> None:
        """End all transactions."""
        for transaction in list(self._open.values()):
            self._end(transaction)

    def _start_time(self, options: Message) -> int:
        if options.read_only.HasField("read_time"):
            return self._documents.check_read_time(micros(options.read_only.read_time))
        return self._documents.read_time()

    def _locks_of(self, database: str) -> Locks:
        found = self._locks.get(database)
        if found is None:
            found = self._locks[database] = Locks(self._lock_wait)
        return found

    async def _lock(self, database: str, owner: Owner, writes: Sequence[PlannedWrite]) -> None:
        if self._concurrency is Concurrency.OPTIMISTIC or not writes:
            return
        self._expire()
        paths = {write.name.path for write in writes}
        await self._locks_of(database).write(owner, paths, lambda: self._foreseen(database, writes))

    def _foreseen(self, database: str, writes: Sequence[PlannedWrite]) -> list[Change]:
        """What the writes would change now; nothing if they would be refused."""
        found = self._documents.database(database)
        batch = Batch(found, self._documents.read_time())
        try:
            batch.apply(writes)
        except Refusal:
            return []
        return [Change(path, found.read(path), after) for path, after in batch.changed.items()]

    def _write(self, database: str, writes: Sequence[PlannedWrite]) -> CommitOutcome:
        found = self._documents.database(database)
        batch = Batch(found, self._documents.commit_time())
        results = batch.apply(writes)
        return CommitOutcome(results, self._documents.commit(found, batch.time, batch.changed))

    def _check_unchanged(self, transaction: Transaction) -> None:
        if self._concurrency is Concurrency.PESSIMISTIC or transaction.read_only:
            return
        found = self._documents.database(transaction.database)
        if any(found.read(path) != found.read(path, transaction.at) for path in transaction.reads):
            raise aborted(CONTENTION)

    def observe(self, commit: Commit) -> None:
        """Note which optimistic transactions asked queries that a commit has changed the answer of."""
        if self._concurrency is Concurrency.PESSIMISTIC:
            return
        for transaction in self._open.values():
            if transaction.database == commit.database and transaction.owner.queries:
                transaction.lost |= transaction.owner.minds(commit.changes)

    def _end(self, transaction: Transaction) -> None:
        if self._open.pop(transaction.id, None):
            self._ended[transaction.id] = transaction.owner.age
            if len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]
            self._locks_of(transaction.database).release(transaction.owner)

    def _expire(self) -> None:
        for transaction in [each for each in self._open.values() if self._expired(each)]:
            self._end(transaction)

    def _expired(self, transaction: Transaction) -> bool:
        now = self._clock.now()
        idle, age = now - transaction.used, now - transaction.started
        return idle > _IDLE_SECONDS * MICROS or age > _LONGEST_SECONDS * MICROS


def _id(number: int) -> bytes:
    return _FIRST_BYTE + number.to_bytes(_ID_BYTES - 1, "little")
