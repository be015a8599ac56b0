"""Structured queries: what is asked, checked once, and the documents that answer it.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#structuredquery
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from emulator.firestore.bson import REFERENCE
from emulator.firestore.documents import Collection, Database, Stored
from emulator.firestore.field_index import index_of, members_of
from emulator.firestore.filters import CONTAINS, NAME, Condition, Filter, Junction, Subject, parse_filter
from emulator.firestore.names import FieldPath, Name, check_collection_id, format_field_path, parse_field_path
from emulator.firestore.protocol import Document, Message, StructuredQuery, Value
from emulator.firestore.values import Key, check_value, key_of
from emulator.firestore.vectors import Nearest, parse_nearest
from emulator.firestore.writes import set_field
from emulator.refusals import failed_precondition, invalid

_DESCENDING: Final = StructuredQuery.DESCENDING
_MAX_ORDERS: Final = 100
_WORTH_AN_INDEX: Final = 100
"""In a smaller collection a query looks at every document."""

_BELOW: Final = frozenset({"LESS_THAN", "LESS_THAN_OR_EQUAL"})
_ABOVE: Final = frozenset({"GREATER_THAN", "GREATER_THAN_OR_EQUAL"})


class Order(NamedTuple):
    """One field that results are sorted by."""

    path: FieldPath
    descending: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """Where results start or end: a position among the order keys, and whether it lies before equal documents."""

    keys: tuple[Key, ...]
    before: bool


class Found(NamedTuple):
    """A document that matches, with the keys it is sorted by."""

    document: Stored
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was checked."""

    parent: Name
    collection_id: str
    everywhere: bool
    where: Filter | None
    orders: tuple[Order, ...]
    start: Bound | None
    end: Bound | None
    offset: int
    limit: int | None
    mask: tuple[FieldPath, ...] | None
    nearest: Nearest | None
    explicit: int = 0
    """How many of the orders the query names itself."""

    def in_scope(self, path: str) -> bool:
        """Whether a document belongs to the collections that are asked, whatever it holds."""
        collection, _, _ = path.rpartition("/")
        above, _, collection_id = collection.rpartition("/")
        if self.collection_id and collection_id != self.collection_id:
            return False
        parent = self.parent.path
        if not self.everywhere:
            return above == parent
        return not parent or collection.startswith(f"{parent}/")

    def accepts(self, document: Stored | None) -> Found | None:
        """The document with its order keys if it matches filter, orders and cursors."""
        if document is None:
            return None
        subject = Subject(self.parent.database, document.path, document.fields if self._looks_inside else {})
        if self.where and not self.where.matches(subject):
            return None
        keys = []
        for order in self.orders:
            key = subject.key(order.path)
            if key is None:
                return None
            keys.append(key)
        found = Found(document, tuple(keys))
        return found if self._between(found.keys) else None

    def run(self, database: Database, at: int | None) -> list[Found]:
        """The documents that answer it, in order, after offset and before limit."""
        if self.nearest:
            return list(self._nearest(self.matching(database, at), self.nearest))
        documents, in_order = self._candidates(database, at)
        found: Iterable[Found] = filter(None, map(self.accepts, documents))
        until = None if self.limit is None else self.offset + self.limit
        return list(islice(found if in_order else self.sort(list(found)), self.offset, until))

    def matching(self, database: Database, at: int | None) -> Iterator[Found]:
        """All that match, in the order of their names."""
        for document in database.scan(self.parent.path, self.collection_id, at, everywhere=self.everywhere):
            if found := self.accepts(document):
                yield found

    def _candidates(self, database: Database, at: int | None) -> tuple[Iterable[Stored], bool]:
        """The documents that may match, and whether they come in the order that is asked."""
        by_name = self.orders == (Order(NAME, descending=False),)
        collection = None if self.everywhere else database.child(self.parent.path, self.collection_id)
        if at is None and collection:
            for each in self._required():
                if each.operator in CONTAINS:  # few documents may have many values
                    return collection.present(members_of(collection, each.path).holding(each.keys)), by_name
        if at is None and collection and len(collection.order) >= _WORTH_AN_INDEX:
            equal = [each for each in self._required() if each.operator in {"EQUAL", "IN"}]
            if equal:
                ids = min((index_of(collection, each.path).equal(each.keys) for each in equal), key=len)
                return collection.present(ids), by_name
            if len(self.orders) == 2 and self.orders[0].descending is self.orders[1].descending:  # noqa: PLR2004
                return collection.present(self._in_order(collection, self.orders[0])), True
        return database.scan(self.parent.path, self.collection_id, at, everywhere=self.everywhere), by_name

    def _in_order(self, collection: Collection, order: Order) -> Iterator[str]:
        conditions = [each for each in self._required() if each.path == order.path]
        least = [each.keys[0] for each in conditions if each.operator in _ABOVE]
        most = [each.keys[0] for each in conditions if each.operator in _BELOW]
        least += [each[:1] for each in most]  # values of the same type only
        first, last = (most, least) if order.descending else (least, most)
        first += self.start.keys[:1] if self.start else ()
        last += self.end.keys[:1] if self.end else ()
        index = index_of(collection, order.path)
        return index.ordered(max(least, default=None), min(most, default=None), descending=order.descending)

    def _required(self) -> list[Condition]:
        """Conditions on fields of which each must hold."""
        where = self.where
        both = where.filters if isinstance(where, Junction) and where.operator == "AND" else (where,)
        return [each for each in both if isinstance(each, Condition) and each.keys and each.path != NAME]

    def sort(self, found: list[Found]) -> list[Found]:
        """Put documents in the order that is asked: one stable pass for each field, the last one first."""
        for index in reversed(range(len(self.orders))):
            found.sort(key=lambda each, index=index: each.keys[index], reverse=self.orders[index].descending)  # type: ignore[misc]
        return found

    @property
    def _looks_inside(self) -> bool:
        return self.where is not None or len(self.orders) > 1

    def _between(self, keys: tuple[Key, ...]) -> bool:
        if self.start:
            side = self.compare(keys, self.start.keys)
            if side < 0 or (side == 0 and not self.start.before):
                return False
        if self.end:
            side = self.compare(keys, self.end.keys)
            return side < 0 or (side == 0 and not self.end.before)
        return True

    def compare(self, keys: Sequence[Key], others: Sequence[Key]) -> int:
        """Which comes first in the order that is asked, as far as both go: negative, zero or positive."""
        for order, key, other in zip(self.orders, keys, others, strict=False):
            if key != other:
                return -1 if (key < other) is not order.descending else 1
        return 0

    def _nearest(self, found: Iterator[Found], nearest: Nearest) -> Iterator[Found]:
        ranked = nearest.rank((each, each.document.fields) for each in found)
        until = None if self.limit is None else self.offset + self.limit
        for each, distance in islice(ranked, self.offset, until):
            yield _with_distance(each, nearest.result_field, distance)


def _with_distance(found: Found, path: FieldPath | None, distance: float) -> Found:
    if path is None:
        return found
    document = found.document
    labelled = Document.FromString(document.wire)
    set_field(labelled.fields, path, Value(double_value=distance))
    return Found(document._replace(wire=labelled.SerializeToString()), found.keys)


def parse_query(parent: Name, message: Message, aggregated: Sequence[FieldPath] = ()) -> Query:
    """Check a StructuredQuery. Fields that are aggregated are read from an index and so order it. Raises Refusal."""
    selector = _selector(message)
    where = parse_filter(message.where)
    orders, explicit = _orders(message, where, aggregated)
    limit = message.limit.value if message.HasField("limit") else None
    if limit is not None and limit < 0:
        raise invalid("limit is negative")
    if message.offset < 0:
        raise invalid("offset is negative")
    if message.HasField("find_nearest") and (limit is not None or message.offset):
        raise invalid("A query limit or offset cannot be used with find_nearest, which has a limit of its own.")
    return Query(
        parent=parent,
        collection_id=selector.collection_id,
        everywhere=bool(selector.all_descendants),
        where=where,
        orders=orders,
        start=_bound(message.start_at, orders[:explicit], parent) if message.HasField("start_at") else None,
        end=_bound(message.end_at, orders[:explicit], parent) if message.HasField("end_at") else None,
        offset=int(message.offset),
        limit=limit,
        mask=_mask(message),
        nearest=parse_nearest(message.find_nearest) if message.HasField("find_nearest") else None,
        explicit=explicit,
    )


def _selector(message: Message) -> Message:
    selectors = message.from_
    if len(selectors) > 1:
        raise invalid("multiple collection selectors are not supported")
    if not selectors:
        return StructuredQuery.DESCRIPTOR.nested_types_by_name["CollectionSelector"]._concrete_class()  # noqa: SLF001
    if selectors[0].collection_id:
        check_collection_id(selectors[0].collection_id)
    return selectors[0]


def _mask(message: Message) -> tuple[FieldPath, ...] | None:
    if not message.HasField("select") or not message.select.fields:
        return None
    paths = tuple(parse_field_path(each.field_path) for each in message.select.fields)
    return tuple(path for path in paths if path != NAME)


def _orders(message: Message, where: Filter | None, aggregated: Sequence[FieldPath]) -> tuple[tuple[Order, ...], int]:
    """The orders that the query names, then those that follow from its inequalities, then the name."""
    conditions = list(where.conditions()) if where else []
    if len(message.order_by) > _MAX_ORDERS:
        raise invalid(f"A query may be ordered by at most {_MAX_ORDERS} fields.")
    orders = [_order(each) for each in message.order_by]
    if orders == [Order(NAME, descending=True)] and all(each.path == NAME for each in conditions):
        raise failed_precondition("Firestore does not support descending key scans")
    explicit = len(orders)
    if len({order.path for order in orders}) < explicit:
        raise invalid("order by clause cannot contain duplicate fields")
    inequalities = {each.path for each in conditions if each.inequality}
    descending = bool(orders) and orders[-1].descending
    named = {order.path for order in orders}
    if NAME not in named:
        if any(each.path == NAME for each in conditions):
            _check_after_name(set(aggregated) - named - inequalities)
        implied = sorted((inequalities | set(aggregated)) - named - {NAME}, key=format_field_path)
        orders += [Order(path, descending) for path in implied] + [Order(NAME, descending)]
        named |= inequalities | set(aggregated)
    if orders[-1].path != NAME:
        raise invalid("order by clause cannot contain more fields after the key")
    if inequalities - named:
        raise invalid("order by clause cannot contain more fields after the key")
    _check_after_name(set(aggregated) - named)
    return tuple(orders), explicit


def _check_after_name(fields: set[FieldPath]) -> None:
    if fields - {NAME}:
        listed = ", ".join(sorted(".".join(path) for path in fields))
        raise invalid(
            f"This query requires an index that has fields [{listed}] after __name__ and Firestore does not currently "
            "support such an index. Please try the query again with additional ordering on those fields."
        )


def _order(message: Message) -> Order:
    if message.direction not in StructuredQuery.Direction.values():
        raise invalid(f"Unknown direction of an order: {message.direction}")
    return Order(parse_field_path(message.field.field_path), message.direction == _DESCENDING)


def _bound(cursor: Message, orders: Sequence[Order], parent: Name) -> Bound:
    if len(cursor.values) > len(orders):
        raise invalid("Cursor has too many values.")
    keys = []
    for value, order in zip(cursor.values, orders, strict=False):
        check_value(value)
        key = key_of(value)
        if order.path == NAME and (key[0] != REFERENCE or key[1] != parent.database):
            raise invalid("The cursor value for __name__ must be a document of the same database.")
        keys.append(key)
    return Bound(tuple(keys), bool(cursor.before))
