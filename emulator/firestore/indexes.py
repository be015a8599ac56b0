"""Which queries the declared indexes can answer, as production decides it; the official emulator answers all.

A query needs its equality fields in any order, then the fields it is ordered by. Single-field indexes exist without
being declared, unless an override says otherwise, and several indexes with the same order may be merged.
https://firebase.google.com/docs/firestore/query-data/index-overview
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from emulator.firestore.filters import CONTAINS, NAME, Condition
from emulator.firestore.names import FieldPath, format_field_path, parse_field_path
from emulator.firestore.query import Query
from emulator.refusals import Refusal, failed_precondition

ASCENDING: Final = "ASCENDING"
DESCENDING: Final = "DESCENDING"
ARRAY: Final = "CONTAINS"
VECTOR: Final = "VECTOR"
_ANY_FIELD: Final[FieldPath] = ("*",)
_AUTOMATIC: Final = frozenset({ASCENDING, DESCENDING, ARRAY})


class Part(NamedTuple):
    """One field of an index and how it is indexed."""

    path: FieldPath
    mode: str


@dataclass(frozen=True, slots=True)
class CompositeIndex:
    """A declared index over several fields."""

    collection_id: str
    everywhere: bool
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """What a ``firestore.indexes.json`` declares. ``ttl`` names the fields of TTL policies by collection group."""

    composites: tuple[CompositeIndex, ...] = ()
    single: Mapping[tuple[str, FieldPath], frozenset[tuple[bool, str]]] = field(default_factory=dict)
    ttl: tuple[tuple[str, FieldPath], ...] = ()

    def automatic(self, collection_id: str, path: FieldPath, *, everywhere: bool) -> frozenset[str]:
        """How a single field is indexed in a collection, or in a collection group."""
        for key in ((collection_id, path), (collection_id, _ANY_FIELD), ("*", path), ("*", _ANY_FIELD)):
            if key in self.single:
                return frozenset(mode for wide, mode in self.single[key] if wide is everywhere)
        return frozenset() if everywhere else _AUTOMATIC


def load_indexes(file: Path) -> Declared:
    """Read a file in the format of the Firebase command line."""
    document: dict[str, Any] = json.loads(file.read_text())
    composites = []
    for each in document.get("indexes", []):
        parts = tuple(Part(parse_field_path(one["fieldPath"]), _mode(one)) for one in each["fields"])
        composites.append(CompositeIndex(each["collectionGroup"], _everywhere(each), parts))
    single, ttl = {}, []
    for each in document.get("fieldOverrides", []):
        path = _ANY_FIELD if each["fieldPath"] == "*" else parse_field_path(each["fieldPath"])
        key = (each["collectionGroup"], path)
        single[key] = frozenset((_everywhere(one), _mode(one)) for one in each.get("indexes", []))
        if each.get("ttl"):
            ttl.append(key)
    return Declared(tuple(composites), single, tuple(ttl))


def _mode(declared: Mapping[str, Any]) -> str:
    if "vectorConfig" in declared:
        return VECTOR
    return str(declared.get("arrayConfig") or declared.get("order") or ASCENDING)


def _everywhere(declared: Mapping[str, Any]) -> bool:
    return bool(declared.get("queryScope", "COLLECTION") == "COLLECTION_GROUP")


def require_index(declared: Declared, query: Query) -> None:
    """Refuse a query that no declared index can answer. Raises Refusal that names the index."""
    if not query.collection_id:
        return
    alternatives = list(query.where.alternatives()) if query.where else [()]
    for conditions in alternatives:
        missing = _missing(declared, query, conditions)
        if missing:
            raise _refused(query, missing)


def _missing(declared: Declared, query: Query, conditions: Iterable[Condition]) -> list[Part]:
    """The index that one conjunction needs and does not have; empty if it can be answered."""
    listed = [each for each in conditions if each.path != NAME]
    contains = {each.path for each in listed if each.operator in CONTAINS}
    equal = {each.path for each in listed if not each.inequality and each.path not in contains}
    tail = _tail(query, equal)
    prefix = [Part(path, ARRAY) for path in sorted(contains)] + [Part(path, ASCENDING) for path in sorted(equal)]
    wanted = [*prefix, *tail]
    if not wanted:
        return []
    if len(wanted) == 1:
        return [] if _single(declared, query, wanted[0]) else wanted
    if _merged(declared, query, prefix, tail):
        return []
    return wanted


def _tail(query: Query, equal: set[FieldPath]) -> list[Part]:
    """The fields that results come ordered by, then the vector."""
    tail = [
        Part(order.path, DESCENDING if order.descending else ASCENDING)
        for order in query.orders
        if order.path not in equal
    ]
    if tail and tail[-1].path == NAME and (len(tail) == 1 or tail[-1].mode == tail[-2].mode):
        tail.pop()  # every index ends with the name, in the direction of its last field
    return [*tail, Part(query.nearest.path, VECTOR)] if query.nearest else tail


def _single(declared: Declared, query: Query, part: Part) -> bool:
    modes = declared.automatic(query.collection_id, part.path, everywhere=query.everywhere)
    if part.path == NAME or part.mode in modes:
        return True
    reversible = {ASCENDING, DESCENDING}
    if part.mode in reversible and modes & reversible:
        return True
    return _covers(declared, query, [part], [])


def _merged(declared: Declared, query: Query, prefix: list[Part], tail: list[Part]) -> bool:
    """Whether indexes that all end with the tail cover the prefix together."""
    if not tail and all(_single(declared, query, part) for part in prefix):
        return True
    return _covers(declared, query, prefix, tail)


def _covers(declared: Declared, query: Query, prefix: list[Part], tail: list[Part]) -> bool:
    wanted = {_undirected(part) for part in prefix}
    covered: set[Part] = set()
    answered = not prefix and len(tail) == 1 and _single(declared, query, tail[0])
    for index in declared.composites:
        if index.collection_id != query.collection_id or index.everywhere is not query.everywhere:
            continue
        parts = [part for part in index.parts if part.path != NAME or part in tail]
        cut = len(parts) - len(tail)
        if cut < 0 or not _same_order(parts[cut:], tail):
            continue
        head = {_undirected(part) for part in parts[:cut]}
        if head <= wanted:
            covered |= head
            answered = answered or not wanted
    return answered or (bool(wanted) and covered == wanted)


def _undirected(part: Part) -> Part:
    """An equality does not mind the direction of an index."""
    return Part(part.path, ASCENDING if part.mode == DESCENDING else part.mode)


def _same_order(parts: Sequence[Part], tail: Sequence[Part]) -> bool:
    """Whether an index has this order, forwards or backwards."""
    return list(parts) == list(tail) or [_reversed(part) for part in parts] == list(tail)


def _reversed(part: Part) -> Part:
    return Part(part.path, {ASCENDING: DESCENDING, DESCENDING: ASCENDING}.get(part.mode, part.mode))


def _refused(query: Query, missing: Sequence[Part]) -> Refusal:
    index = {
        "collectionGroup": query.collection_id,
        "queryScope": "COLLECTION_GROUP" if query.everywhere else "COLLECTION",
        "fields": [_declaration(part) for part in missing],
    }
    kind = "" if len(missing) > 1 else "single-field "
    return failed_precondition(
        f"The query requires an index. Add this {kind}index to firestore.indexes.json: {json.dumps(index)}"
    )


def _declaration(part: Part) -> dict[str, object]:
    path = format_field_path(part.path)
    if part.mode == VECTOR:
        return {"fieldPath": path, "vectorConfig": {"dimension": 0, "flat": {}}}
    return {"fieldPath": path, "arrayConfig" if part.mode == ARRAY else "order": part.mode}
