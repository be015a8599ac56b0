from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from emulator.firestore.indexes import Declared, load_indexes, require_index
from emulator.firestore.names import Name
from emulator.firestore.query import parse_query
from emulator.refusals import Refusal
from tests.emulator.firestore.test_reads import ordered, over, where

ROOT = Path(__file__).parents[3]
PARENT = Name("projects/p/databases/(default)", ())
Declare = Callable[..., Declared]


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    def made(**document: Any) -> Declared:
        file = tmp_path / "firestore.indexes.json"
        file.write_text(json.dumps(document))
        return load_indexes(file)

    return made


def index(*parts: str, scope: str = "COLLECTION") -> dict[str, Any]:
    """An index of fields; ``-`` before one means descending."""
    fields = [
        {"fieldPath": each.lstrip("-"), "order": "DESCENDING" if each.startswith("-") else "ASCENDING"}
        for each in parts
    ]
    return {"collectionGroup": "c", "queryScope": scope, "fields": fields}


def both(query: Any, *conditions: tuple[str, str, Any]) -> Any:
    """All of these conditions."""
    query.where.composite_filter.op = 1
    for condition in conditions:
        query.where.composite_filter.filters.append(where(over(), *condition).where)
    return query


def answered(declared: Declared, query: Any, aggregated: tuple[tuple[str, ...], ...] = ()) -> bool:
    try:
        require_index(declared, parse_query(PARENT, query, aggregated))
    except Refusal:
        return False
    return True


A1, B1 = ("a", "EQUAL", 1), ("b", "EQUAL", 1)


@pytest.mark.parametrize(
    "query",
    [
        over(),
        where(over(), *A1),
        both(over(), A1, B1),
        both(over(), A1, ("t", "ARRAY_CONTAINS", 1)),
        where(over(), "a", "GREATER_THAN", 1),
        ordered(over(), "a", 2),
        ordered(where(over(), "a", "GREATER_THAN", 1), "a", 2),
        over(everywhere=True),
        where(over("", everywhere=True), *A1),
    ],
    ids=count(),
)
def test_automatic_indexes_answer_simple_queries(query: Any) -> None:
    assert answered(Declared(), query)


@pytest.mark.parametrize(
    "query",
    [
        ordered(where(over(), *A1), "b"),
        both(over(), A1, ("b", "GREATER_THAN", 1)),
        ordered(ordered(over(), "a"), "b"),
        where(over(everywhere=True), *A1),
        both(over(), ("a", "GREATER_THAN", 1), ("b", "LESS_THAN", 1)),
    ],
    ids=count(),
)
def test_other_queries_need_a_declared_index(query: Any) -> None:
    assert not answered(Declared(), query)


def test_a_declared_index_answers_in_both_directions(declare: Declare) -> None:
    declared = declare(indexes=[index("a", "-b")])
    assert answered(declared, ordered(where(over(), *A1), "b", 2))
    assert answered(declared, ordered(where(over(), *A1), "b", 1))
    assert not answered(declared, ordered(ordered(over(), "a", 1), "b", 1))


def test_indexes_with_the_same_order_are_merged(declare: Declare) -> None:
    declared = declare(indexes=[index("a", "x"), index("b", "x")])
    assert answered(declared, ordered(both(over(), A1, B1), "x"))
    assert not answered(declared, ordered(both(over(), A1, B1, ("d", "EQUAL", 1)), "x"))


def test_an_index_of_a_collection_does_not_answer_for_its_group(declare: Declare) -> None:
    query = ordered(where(over(everywhere=True), *A1), "b")
    assert not answered(declare(indexes=[index("a", "b")]), query)
    assert answered(declare(indexes=[index("a", "b", scope="COLLECTION_GROUP")]), query)


def test_an_override_takes_the_automatic_indexes_away(declare: Declare) -> None:
    declared = declare(fieldOverrides=[{"collectionGroup": "c", "fieldPath": "a", "indexes": []}])
    assert not answered(declared, where(over(), *A1))
    assert answered(declared, where(over(), *B1))


def test_what_is_added_up_must_be_in_the_index(declare: Declare) -> None:
    query = where(over(), *A1)
    assert not answered(Declared(), query, (("n",),))
    assert answered(declare(indexes=[index("a", "n")]), query, (("n",),))
    assert answered(Declared(), over(), (("n",),))


def test_the_refusal_names_the_index_that_is_missing() -> None:
    with pytest.raises(Refusal) as refused:
        require_index(Declared(), parse_query(PARENT, ordered(where(over(), *A1), "b", 2)))
    assert json.loads(refused.value.message.partition(".json: ")[2]) == index("a", "-b")


def test_the_projects_own_indexes_can_be_read() -> None:
    declared = load_indexes(ROOT / "infra" / "firestore.indexes.json")
    assert ("tasks", ("expireAt",)) in declared.ttl
    listing = ordered(ordered(where(over("tasks"), "caller", "EQUAL", "ann"), "createdAt", 2), "__name__", 2)
    assert answered(declared, listing)
    assert not answered(declared, where(over("tasks"), "payload", "EQUAL", 1))
