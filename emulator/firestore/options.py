"""How the server behaves, where production offers a choice or is stricter than a test may want."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emulator.firestore.transactions import Concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class FirestoreOptions:
    """What to serve and how.

    ``indexes`` is a ``firestore.indexes.json``; with it, queries that need an undeclared composite index are refused
    and TTL policies delete. ``storage`` is a SQLite file that keeps the documents over restarts.
    """

    host: str = "127.0.0.1"
    port: int = 0
    concurrency: Concurrency = Concurrency.PESSIMISTIC
    lock_wait_seconds: float = 2.0
    history_seconds: float = 3600.0
    history_bytes: int = 32 * 1024 * 1024
    indexes: Path | None = None
    require_indexes: bool = True
    ttl_seconds: float = 1.0
    storage: Path | None = None
