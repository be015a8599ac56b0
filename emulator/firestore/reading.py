"""What a request reads from: a database, now or at a past time, inside a transaction or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from emulator.firestore.documents import Database
from emulator.firestore.engine import Engine
from emulator.firestore.locks import Matches
from emulator.firestore.protocol import Message
from emulator.firestore.transactions import Transaction
from emulator.firestore.values import micros

_NEW: Final = "new_transaction"


class Reading:
    """The ``consistency_selector`` of a request. ``at`` is None for the present."""

    def __init__(self, engine: Engine, database: str, request: Message) -> None:
        """Find or begin the transaction of the request. Raises Refusal."""
        self._engine = engine
        self.database: Database = engine.documents.database(database)
        self.transaction: Transaction | None = None
        self.began = b""
        self.at: int | None = None
        fields = request.DESCRIPTOR.fields_by_name
        if _NEW in fields and request.HasField(_NEW):
            self.transaction = engine.transactions.begin(database, request.new_transaction)
            self.began = self.transaction.id
        elif "transaction" in fields and request.transaction:
            self.transaction = engine.transactions.find(request.transaction, database)
        elif request.HasField("read_time"):
            self.at = engine.documents.check_read_time(micros(request.read_time))
        if self.transaction:
            self.at = self.transaction.at

    @property
    def read_time(self) -> int:
        """The time at which the answer is true."""
        return self._engine.documents.read_time() if self.at is None else self.at

    async def lock(self, paths: Sequence[str]) -> None:
        """Let the transaction know which documents are about to be read."""
        if self.transaction:
            await self._engine.transactions.reading(self.transaction, paths)

    async def lock_query(self, run: Callable[[], Iterable[str]], matches: Matches) -> None:
        """Let the transaction know of a query that is about to run."""
        if self.transaction:
            await self._engine.transactions.asking(self.transaction, run, matches)
