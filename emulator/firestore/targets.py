"""What a listener listens to: documents by name, or a query; and what has changed since it was last told.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#google.firestore.v1.Target
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from emulator.firestore.billing import query_cost
from emulator.firestore.documents import Database, Stored
from emulator.firestore.names import Name, parse_document
from emulator.firestore.protocol import ListenResponse, Message
from emulator.firestore.query import Query
from emulator.firestore.values import timestamp_of
from emulator.firestore.wire import varint, with_document
from emulator.firestore.writes import masked
from emulator.refusals import invalid

_DOCUMENT_CHANGE = b"\x1a"  # field 3 of ListenResponse, length-delimited


class Source(Protocol):
    """Where the documents of a target come from."""

    def all(self, at: int | None) -> dict[str, Stored]:
        """All documents of the target, now or at a past time, by path."""
        ...

    def again(self, shown: Mapping[str, Stored], changed: AbstractSet[str]) -> dict[str, Stored]:
        """All documents now, given those shown before and the paths that were written since."""
        ...

    def wire(self, document: Stored) -> bytes:
        """A document as the listener wants it."""
        ...

    def reads(self, shown: int) -> int:
        """What it costs to begin to listen, given how many documents are shown."""
        ...


class NamedDocuments:
    """A list of documents."""

    def __init__(self, database: Database, names: Iterable[str]) -> None:
        """Check the names. Raises Refusal."""
        self._database = database
        parsed = [parse_document(name) for name in names]
        if strange := next((name for name in parsed if name.database != database.name), None):
            raise invalid(f'The document "{strange}" is not in the database "{database.name}" of the request.')
        self.paths = [name.path for name in parsed]
        if not self.paths:
            raise invalid("A documents target must name at least one document.")

    def all(self, at: int | None) -> dict[str, Stored]:
        """Those that exist."""
        return {path: found for path in self.paths if (found := self._database.read(path, at))}

    def again(self, shown: Mapping[str, Stored], changed: AbstractSet[str]) -> dict[str, Stored]:
        """Those that exist, read again if one was written."""
        return self.all(None) if not changed.isdisjoint(self.paths) else dict(shown)

    def wire(self, document: Stored) -> bytes:
        """The whole document."""
        return document.wire

    def reads(self, shown: int) -> int:  # noqa: ARG002  # a document that is missing has been looked up all the same
        """Each document once."""
        return len(self.paths)


class QueriedDocuments:
    """The answer of a query."""

    def __init__(self, database: Database, query: Query) -> None:
        """Listen to a query that was checked."""
        self._database = database
        self._query = query
        self._cut = query.limit is not None or query.offset > 0 or query.nearest is not None

    def all(self, at: int | None) -> dict[str, Stored]:
        """The answer, in order."""
        return {each.document.path: each.document for each in self._query.run(self._database, at)}

    def again(self, shown: Mapping[str, Stored], changed: AbstractSet[str]) -> dict[str, Stored]:
        """The answer; without a limit only the documents that were written are looked at."""
        touched = [path for path in changed if self._query.in_scope(path)]
        if not touched:
            return dict(shown)
        if self._cut:
            return self.all(None)
        now = dict(shown)
        for path in touched:
            found = self._query.accepts(self._database.read(path))
            now.pop(path, None)
            if found:
                now[path] = found.document
        return now

    def wire(self, document: Stored) -> bytes:
        """The document with the fields that the query selects."""
        return masked(document, self._query.mask)

    def reads(self, shown: int) -> int:
        """Those of the query."""
        return query_cost(self._query, shown, lambda: self._query.matching(self._database, None)).reads


class Told(NamedTuple):
    """What a listener is told, and what that costs in reads."""

    answers: list[bytes]
    reads: int


class Target:
    """One target of a stream, and what its listener has been shown."""

    def __init__(self, number: int, database: Database, source: Source) -> None:
        """Nothing has been shown yet."""
        self.number = number
        self.source = source
        self._database = database
        self._shown: dict[str, Stored] = {}

    def resume(self, at: int) -> None:
        """Take it that the listener knows what was there at a time."""
        self._shown = self.source.all(at)

    def first(self, read_time: int, *, resumed: bool) -> Told:
        """What the listener must be told to know all of it."""
        if resumed:
            return self._differences(self._shown, self.source.all(None), read_time)
        answers = self._differences({}, self.source.all(None), read_time).answers
        if isinstance(self.source, NamedDocuments):
            missing = [path for path in self.source.paths if path not in self._shown]
            answers += [self._gone(path, read_time) for path in missing]
        return Told(answers, self.source.reads(len(self._shown)))

    def next(self, changed: AbstractSet[str], read_time: int) -> Told:
        """What the listener must be told after these paths were written."""
        return self._differences(self._shown, self.source.again(self._shown, changed), read_time)

    def _differences(self, before: Mapping[str, Stored], after: dict[str, Stored], read_time: int) -> Told:
        """Read is what was added or updated, and what left because it was changed; not what was deleted.

        https://firebase.google.com/docs/firestore/pricing, section "Listening to query results".
        """
        gone = [path for path in before if path not in after]
        changed = [each for path, each in after.items() if before.get(path) is not each]
        now = [(self._database.read(path), before[path]) for path in gone]
        left = sum(1 for document, shown in now if document is not None and document is not shown)
        self._shown = after
        answers = [self._gone(path, read_time) for path in gone] + [self._changed(each) for each in changed]
        return Told(answers, len(changed) + left)

    def _changed(self, document: Stored) -> bytes:
        change = ListenResponse().document_change
        change.target_ids.append(self.number)
        wire = with_document(self.source.wire(document), change.SerializeToString())
        return _DOCUMENT_CHANGE + varint(len(wire)) + wire

    def _gone(self, path: str, read_time: int) -> bytes:
        answer: Message = ListenResponse()
        exists = self._database.read(path) is not None
        gone = answer.document_remove if exists else answer.document_delete
        gone.document = str(Name(self._database.name, tuple(path.split("/"))))
        gone.removed_target_ids.append(self.number)
        gone.read_time.CopyFrom(timestamp_of(read_time))
        wire: bytes = answer.SerializeToString()
        return wire
