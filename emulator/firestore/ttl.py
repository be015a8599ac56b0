"""TTL policies: documents whose time has come are deleted, as nobody's transaction.

Production deletes within a day; here the next sweep does. https://firebase.google.com/docs/firestore/ttl
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from emulator.firestore.bson import TIMESTAMP
from emulator.firestore.documents import Database, Stored
from emulator.firestore.engine import Engine
from emulator.firestore.field_index import index_of
from emulator.firestore.names import FieldPath, Name
from emulator.firestore.writes import Condition, Kind, PlannedWrite
from emulator.refusals import Refusal


async def sweep(engine: Engine, policies: Iterable[tuple[str, FieldPath]]) -> int:
    """Delete what has expired; return how many documents that were."""
    now, deleted = engine.clock.now(), 0
    for collection_id, path in policies:
        for database in list(engine.documents.databases.values()):
            for document in list(_expired(database, collection_id, path, now)):
                deleted += await _delete(engine, database.name, document)
    return deleted


def _expired(database: Database, collection_id: str, path: FieldPath, now: int) -> Iterator[Stored]:
    """By index: a sweep every second cannot look at every document."""
    for collection in database.groups.get(collection_id, {}).values():
        times = index_of(collection, path)
        yield from collection.present(times.ordered((TIMESTAMP,), (TIMESTAMP, now), descending=False))


async def _delete(engine: Engine, database: str, document: Stored) -> int:
    name = Name(database, tuple(document.path.split("/")))
    unchanged = Condition(update_time=document.updated)
    try:
        await engine.commit("TTL", database, [PlannedWrite(Kind.DELETE, name, unchanged, {}, None, ())], b"")
    except Refusal:
        return 0  # somebody wrote it, or holds it: the next sweep looks again
    return 1
