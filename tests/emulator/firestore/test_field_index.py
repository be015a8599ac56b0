"""A query of the present, which uses indexes, finds what one that looks at every document finds."""

from __future__ import annotations

import random
from typing import Any

import pytest

from emulator.firestore.clock import Clock
from emulator.firestore.documents import Documents
from emulator.firestore.names import Name
from emulator.firestore.protocol import Cursor, Document, StructuredQuery
from emulator.firestore.query import Query, parse_query
from emulator.firestore.writes import stored
from tests.emulator.firestore.raw import fields, value, vector
from tests.emulator.firestore.test_reads import ordered, over

DATABASE = "projects/p/databases/(default)"
ROOT = Name(DATABASE, ())
NAN = float("nan")
NUMBERS: list[Any] = [NAN, float("-inf"), -1, -0.0, 0, 0.0, 1, 2, 2.5, 2**53 + 1, float(2**53), 2**63 - 1]
LISTS: list[Any] = [[], [1], [NAN], [1, "a"], [None, 2.5]]
VALUES: list[Any] = [None, False, True, *NUMBERS, "", "a", "b", b"b", *LISTS, {}, {"a": 1}, {"a": NAN}]
FIELDS = ["a", "b", "a.a"]
IDS = [*(f"d{number}" for number in range(140)), *(f"__id{number}__" for number in range(8)), "\uffff", "\U0001f600"]
EQUALITIES = {StructuredQuery.FieldFilter.EQUAL, StructuredQuery.FieldFilter.IN}
CONTAINS = [StructuredQuery.FieldFilter.ARRAY_CONTAINS, StructuredQuery.FieldFilter.ARRAY_CONTAINS_ANY]
MEMBERS: list[Any] = [None, NAN, 1, 1.0, "a", 2.5, 7]
RANGES = ["LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL"]


def written(chance: random.Random, path: str, time: int) -> Any:
    """A document with some of the fields a, b and v."""
    content = fields(**{name: chance.choice(VALUES) for name in "ab" if chance.random() < 0.9})
    if chance.random() < 0.1:
        content["v"] = vector(chance.choice([1.0, float("nan")]), chance.choice([0.0, float("nan")]))
    body = Document(name=f"{DATABASE}/documents/{path}", fields=content).SerializeToString(deterministic=True)
    return stored(path, body, time, time)


def change(chance: random.Random, documents: Documents) -> None:
    """Write and delete some of the documents."""
    time = documents.commit_time()
    paths = [f"c/{chance.choice(IDS)}" for _ in range(60)]
    changed = {path: written(chance, path, time) if chance.random() < 0.9 else None for path in paths}
    documents.commit(documents.database(DATABASE), time, changed)


def asked(chance: random.Random) -> Query:
    """A query with equalities, a range, orders, cursors, offset and limit, as the dice fall."""
    query = over()
    where = query.where.composite_filter
    where.op = where.Operator.AND
    for path in chance.sample(FIELDS, chance.randrange(3)):
        added = where.filters.add().field_filter
        added.field.field_path, added.op = path, added.Operator.Value(chance.choice(["EQUAL", "IN", *RANGES]))
        given = [chance.choice(VALUES) for _ in range(3)]
        added.value.CopyFrom(value(given if added.op == added.Operator.IN else given[0]))
    if chance.random() < 0.3:
        added = where.filters.add().field_filter
        added.field.field_path, added.op = chance.choice(FIELDS), chance.choice(CONTAINS)
        given = [chance.choice(MEMBERS) for _ in range(3)]
        added.value.CopyFrom(value(given if added.op == added.Operator.ARRAY_CONTAINS_ANY else given[0]))
    if not where.filters:
        query.ClearField("where")
    filters = [each.field_filter for each in where.filters]
    unequal = [each.field.field_path for each in filters if each.op not in {*EQUALITIES, *CONTAINS}]
    orders = unequal or chance.sample([*FIELDS, "v"], chance.randrange(3))
    for path in orders:
        ordered(query, path, chance.choice([StructuredQuery.ASCENDING, StructuredQuery.DESCENDING]))
    for cursor in ("start_at", "end_at"):
        if orders and chance.random() < 0.3:
            given = Cursor(values=[value(chance.choice(VALUES))], before=chance.random() < 0.5)
            getattr(query, cursor).CopyFrom(given)
    if chance.random() < 0.4:
        query.limit.value, query.offset = chance.randrange(9), chance.randrange(3)
    return parse_query(ROOT, query)


@pytest.mark.parametrize("seed", range(4))
def test_present_and_past_queries_agree_while_documents_change(seed: int) -> None:
    """Reads at a time look at every document; those of the present follow the writes."""
    chance = random.Random(seed)
    documents = Documents(Clock())
    database = documents.database(DATABASE)
    for _ in range(8):
        for _ in range(3):
            change(chance, documents)
        for query in [asked(chance) for _ in range(40)]:
            present = [each.document.path for each in query.run(database, None)]
            assert present == [each.document.path for each in query.run(database, documents.read_time())]
    assert len(database.collections["c"].indexes) == 4, "no query has used an index"
    assert len(database.collections["c"].members) == len(FIELDS), "no query has used an index of lists"
