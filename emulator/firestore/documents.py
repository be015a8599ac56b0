"""The documents of all databases, each with its versions, so that they can be read as they were at a past time.

Documents are kept serialized: most are answered as they were written, and those that a query looks into are parsed
in a microsecond. Times are microseconds since 1970.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from emulator.firestore.clock import MICROS, Clock
from emulator.firestore.names import FieldPath, IdKey, id_key, name_key
from emulator.firestore.protocol import Document, Message
from emulator.refusals import failed_precondition, invalid

if TYPE_CHECKING:
    from emulator.firestore.field_index import FieldIndex, MemberIndex

_TIME: Final = itemgetter(0)


class Stored(NamedTuple):
    """One version of a document. ``wire`` is the whole message, whose first ``body`` bytes are name and fields."""

    path: str
    created: int
    updated: int
    wire: bytes
    body: int

    @property
    def fields(self) -> Mapping[str, Message]:
        """The fields, parsed anew at each call."""
        fields: Mapping[str, Message] = Document.FromString(self.wire).fields
        return fields


class Change(NamedTuple):
    """What one commit did to one document."""

    path: str
    before: Stored | None
    after: Stored | None


class Commit(NamedTuple):
    """What one commit changed; documents written without a change are not in it."""

    database: str
    time: int
    changes: tuple[Change, ...]


@dataclass(slots=True)
class Collection:
    """The documents of one collection, by id and in the order of their ids."""

    path: str
    order: list[tuple[IdKey, str]] = field(default_factory=list)
    versions: dict[str, list[tuple[int, Stored | None]]] = field(default_factory=dict)
    indexes: dict[FieldPath, FieldIndex] = field(default_factory=dict)
    members: dict[FieldPath, MemberIndex] = field(default_factory=dict)

    def read(self, document_id: str, at: int | None) -> Stored | None:
        """A document as it is, or as it was."""
        versions = self.versions.get(document_id)
        if not versions:
            return None
        if at is None:
            return versions[-1][1]
        position = bisect_right(versions, at, key=_TIME)
        return versions[position - 1][1] if position else None

    def documents(self, at: int | None) -> Iterator[Stored]:
        """All documents, by id."""
        for _, document_id in self.order:
            if found := self.read(document_id, at):
                yield found

    def present(self, document_ids: Iterable[str]) -> Iterator[Stored]:
        """Those of the documents that exist now, in the order given."""
        for document_id in document_ids:
            if found := self.read(document_id, None):
                yield found

    def write(self, document_id: str, time: int, document: Stored | None) -> None:
        """Add a version."""
        versions = self.versions.get(document_id)
        if versions is None:
            versions = self.versions[document_id] = []
            insort(self.order, (id_key(document_id), document_id))
        versions.append((time, document))
        if self.indexes or self.members:
            fields = document.fields if document else {}
            for index in self.indexes.values():
                index.write(document_id, fields)
            for members in self.members.values():
                members.write(document_id, fields)

    def forget(self, document_id: str, until: int) -> int:
        """Drop what nobody can read any more at or after a time; return the bytes that were freed."""
        versions = self.versions.get(document_id, [])
        first = max(0, bisect_right(versions, until, key=_TIME) - 1)
        freed = sum(len(stored.wire) for _, stored in versions[:first] if stored)
        del versions[:first]
        if len(versions) == 1 and versions[0][1] is None and versions[0][0] <= until:
            del self.versions[document_id]
            entry = (id_key(document_id), document_id)
            del self.order[bisect_left(self.order, entry)]
        return freed


@dataclass(slots=True)
class Database:
    """The collections of one database, by path and by id."""

    name: str
    collections: dict[str, Collection] = field(default_factory=dict)
    groups: dict[str, dict[str, Collection]] = field(default_factory=dict)
    children: dict[str, dict[str, Collection]] = field(default_factory=dict)

    def read(self, path: str, at: int | None = None) -> Stored | None:
        """A document by its path."""
        parent, _, document_id = path.rpartition("/")
        collection = self.collections.get(parent)
        return collection.read(document_id, at) if collection else None

    def collection(self, path: str) -> Collection:
        """A collection, made if it is not there."""
        found = self.collections.get(path)
        if found is None:
            found = self.collections[path] = Collection(path)
            document, _, collection_id = path.rpartition("/")
            self.groups.setdefault(collection_id, {})[path] = found
            self.children.setdefault(document, {})[collection_id] = found
        return found

    def child(self, parent: str, collection_id: str) -> Collection | None:
        """The collection with this id right below a parent, if it is there."""
        return self.collections.get(f"{parent}/{collection_id}" if parent else collection_id)

    def collection_ids(self, parent: str, at: int | None = None) -> list[str]:
        """The ids of the collections under a document that hold a document, however deep."""
        found = self._below(parent)
        ids = {
            path.removeprefix(f"{parent}/" if parent else "").split("/", 1)[0]
            for path, each in found
            if next(each.documents(at), None)
        }
        return sorted(ids, key=str.encode)

    def missing(self, path: str, at: int | None = None) -> list[str]:
        """The ids of documents of a collection that do not exist but hold collections."""
        inside = {
            found.removeprefix(f"{path}/").split("/", 1)[0]
            for found, each in self._below(path)
            if found != path and next(each.documents(at), None)
        }
        collection = self.collections.get(path)
        return sorted(each for each in inside if not (collection and collection.read(each, at)))

    def scan(self, parent: str, collection_id: str, at: int | None, *, everywhere: bool) -> Iterable[Stored]:
        """The documents of a collection, or of all with that id below a parent, in the order of their names.

        An empty collection id means any.
        """
        if collection_id and not everywhere:
            collection = self.child(parent, collection_id)
            return collection.documents(at) if collection else ()
        if everywhere:
            prefix = f"{parent}/" if parent else ""
            group = self.groups.get(collection_id, {}) if collection_id else self.collections
            chosen = [each for path, each in group.items() if path.startswith(prefix)]
        else:
            chosen = list(self.children.get(parent, {}).values())
        found = [document for each in chosen for document in each.documents(at)]
        return sorted(found, key=lambda document: name_key(document.path))

    def clear(self) -> None:
        """Forget all documents; whoever holds the database goes on with it empty."""
        for kept in (self.collections, self.groups, self.children):
            kept.clear()

    def _below(self, parent: str) -> list[tuple[str, Collection]]:
        prefix = f"{parent}/" if parent else ""
        return [(path, each) for path, each in self.collections.items() if path.startswith(prefix)]


Observer = Callable[[Commit], None]


class Documents:
    """All databases, one clock of commits that only ever goes forward, and who wants to know of a commit."""

    def __init__(self, clock: Clock, history_seconds: float = 3600.0, history_bytes: int = 32 * 1024 * 1024) -> None:
        """Keep old versions so long, and no more of them than so many bytes."""
        self.observers: list[Observer] = []
        self.databases: dict[str, Database] = {}
        self._clock = clock
        self._history_micros = int(history_seconds * MICROS)
        self._history_bytes = history_bytes
        self._old: deque[tuple[int, Collection, str]] = deque()
        self._old_bytes = 0
        self._latest = 0
        self.oldest = 0
        """The earliest time that can still be read exactly."""

    def database(self, name: str) -> Database:
        """A database; it exists as soon as somebody names it."""
        found = self.databases.get(name)
        if found is None:
            found = self.databases[name] = Database(name)
        return found

    def read_time(self) -> int:
        """Now, such that whatever is committed later has a later time."""
        self._latest = max(self._clock.now(), self._latest)
        return self._latest

    def commit_time(self) -> int:
        """A time later than every time given before."""
        self._latest = max(self._clock.now(), self._latest + 1)
        return self._latest

    def check_read_time(self, when: int) -> int:
        """Refuse a time that is too old or lies in the future."""
        now = self.read_time()
        if when > now:
            raise invalid("The requested 'read_time' cannot be in the future.")
        if when < max(self.oldest, now - self._history_micros):
            raise failed_precondition("The requested 'read_time' is too old.")
        return when

    def commit(self, database: Database, time: int, changed: Mapping[str, Stored | None]) -> Commit:
        """Store what a commit changed, all at once, and tell the observers."""
        changes = []
        for path, after in changed.items():
            parent, _, document_id = path.rpartition("/")
            collection = database.collection(parent)
            before = collection.read(document_id, None)
            if before is after:
                continue
            collection.write(document_id, time, after)
            changes.append(Change(path, before, after))
            if before or after is None:
                self._old.append((time, collection, document_id))
                self._old_bytes += len(before.wire) if before else 0
        commit = Commit(database.name, time, tuple(changes))
        self._forget()
        if changes:
            self._tell([commit])
        return commit

    def replace(self, documents: Iterable[tuple[str, Stored]]) -> None:
        """Put other documents, with their times, in the place of all; observers see it as commits of one moment."""
        changes: dict[str, dict[str, Change]] = {}
        for name, before in self.everything():
            changes.setdefault(name, {})[before.path] = Change(before.path, before, None)
        for database in self.databases.values():
            database.clear()
        self._old.clear()
        self._old_bytes = 0
        self.oldest = self.commit_time()
        for name, after in documents:
            parent, _, document_id = after.path.rpartition("/")
            self.database(name).collection(parent).write(document_id, after.updated, after)
            known = changes.setdefault(name, {}).get(after.path)
            changes[name][after.path] = Change(after.path, known.before if known else None, after)
            self._latest = max(self._latest, after.updated)
        self._tell(Commit(name, self.commit_time(), tuple(each.values())) for name, each in changes.items())

    def everything(self) -> Iterator[tuple[str, Stored]]:
        """All documents as they are, with the name of their database."""
        for database in self.databases.values():
            for collection in database.collections.values():
                for document in collection.documents(None):
                    yield database.name, document

    def _tell(self, commits: Iterable[Commit]) -> None:
        for commit in commits:
            for observer in tuple(self.observers):
                observer(commit)

    def _forget(self) -> None:
        limit = self._clock.now() - self._history_micros
        while self._old and (self._old[0][0] <= limit or self._old_bytes > self._history_bytes):
            time, collection, document_id = self._old.popleft()
            self._old_bytes -= collection.forget(document_id, time)
            self.oldest = max(self.oldest, time)
