"""The documents of one collection by the value of one field, so that a query need not look at all of them.

An index is made when a query first asks for it and follows the writes from then on. It knows only the present: what
was so at a past time is found by looking at every document.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

from emulator.firestore.bson import ARRAY
from emulator.firestore.documents import Collection, Stored
from emulator.firestore.names import FieldPath, IdKey, id_key
from emulator.firestore.protocol import Message
from emulator.firestore.values import Key, field_at, key_of

_KEY = itemgetter(0)


class FieldIndex:
    """Document ids, sorted by the key of their value at a path and then by themselves."""

    def __init__(self, path: FieldPath, documents: Iterable[Stored]) -> None:
        """Take in all documents of the collection."""
        self._path = path
        self._keys: dict[str, Key] = {}
        for document in documents:
            if (key := self._key(document.fields)) is not None:
                self._keys[_id(document)] = key
        self._entries: list[tuple[Key, IdKey, str]] = sorted(
            (key, id_key(each), each) for each, key in self._keys.items()
        )

    def write(self, document_id: str, fields: Mapping[str, Message]) -> None:
        """Follow a write; a document that was deleted has no fields."""
        before, after = self._keys.get(document_id), self._key(fields)
        if before == after:
            return
        if before is not None:
            del self._entries[bisect_left(self._entries, (before, id_key(document_id), document_id))]
            del self._keys[document_id]
        if after is not None:
            insort(self._entries, (after, id_key(document_id), document_id))
            self._keys[document_id] = after

    def equal(self, keys: Iterable[Key]) -> list[str]:
        """The ids of the documents with one of these values, in the order of ids."""
        slices = [self._entries[self._first(key) : bisect_right(self._entries, key, key=_KEY)] for key in set(keys)]
        found = [(order, document_id) for each in slices for _, order, document_id in each]
        return [document_id for _, document_id in (found if len(slices) == 1 else sorted(found))]

    def ordered(self, least: Key | None, most: Key | None, *, descending: bool) -> Iterator[str]:
        """The ids in the order of their values, from one value to another, both included."""
        first = self._first(least) if least is not None else 0
        last = bisect_right(self._entries, most, key=_KEY) if most is not None else len(self._entries)
        places = range(last - 1, first - 1, -1) if descending else range(first, last)
        return (self._entries[place][2] for place in places)

    def _first(self, key: Key) -> int:
        return bisect_left(self._entries, key, key=_KEY)

    def _key(self, fields: Mapping[str, Message]) -> Key | None:
        value = field_at(fields, self._path)
        return None if value is None else key_of(value)


class MemberIndex:
    """Document ids by the keys of the values in their list at a path."""

    def __init__(self, path: FieldPath, documents: Iterable[Stored]) -> None:
        """Take in all documents of the collection."""
        self._path = path
        self._members: dict[str, frozenset[Key]] = {}
        self._holders: dict[Key, set[str]] = {}
        for document in documents:
            self.write(_id(document), document.fields)

    def write(self, document_id: str, fields: Mapping[str, Message]) -> None:
        """Follow a write; a document that was deleted has no fields."""
        before, after = self._members.pop(document_id, frozenset[Key]()), self._keys(fields)
        for key in before - after:
            self._holders[key].discard(document_id)
            if not self._holders[key]:
                del self._holders[key]
        for key in after - before:
            self._holders.setdefault(key, set()).add(document_id)
        if after:
            self._members[document_id] = after

    def holding(self, keys: Iterable[Key]) -> list[str]:
        """The ids of the documents whose list has one of these values, in the order of ids."""
        found = set[str]().union(*(self._holders.get(key, ()) for key in keys))
        return sorted(found, key=id_key)

    def _keys(self, fields: Mapping[str, Message]) -> frozenset[Key]:
        value = field_at(fields, self._path)
        key = None if value is None else key_of(value)
        return frozenset(key[1]) if key is not None and key[0] == ARRAY else frozenset()


def members_of(collection: Collection, path: FieldPath) -> MemberIndex:
    """The index of a collection on the values in a field's list, made if it is not there."""
    found = collection.members.get(path)
    if found is None:
        found = collection.members[path] = MemberIndex(path, collection.documents(None))
    return found


def index_of(collection: Collection, path: FieldPath) -> FieldIndex:
    """The index of a collection on a field, made if it is not there."""
    found = collection.indexes.get(path)
    if found is None:
        found = collection.indexes[path] = FieldIndex(path, collection.documents(None))
    return found


def _id(document: Stored) -> str:
    return document.path.rpartition("/")[2]
