"""How often ``array-contains`` may stand in a query: once in each conjunction, where equal siblings count once."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from emulator.firestore import protocol
from emulator.firestore.filters import parse_filter
from emulator.refusals import Refusal

CONTAINS = 'filters { field_filter { field { field_path: "f" } op: ARRAY_CONTAINS value { integer_value: %d } } }'
EQUAL = 'filters { field_filter { field { field_path: "g" } op: EQUAL value { integer_value: 1 } } }'


def joined(operator: str, *parts: str) -> str:
    return f"filters {{ composite_filter {{ op: {operator} {' '.join(parts)} }} }}"


ONE, OTHER = CONTAINS % 1, CONTAINS % 2


def accepted(*parts: str) -> bool:
    query = protocol.StructuredQuery()
    text_format.Parse(f"where {{ composite_filter {{ op: AND {' '.join(parts)} }} }}", query)
    try:
        parse_filter(query.where)
    except Refusal:
        return False
    return True


@pytest.mark.parametrize(
    "parts",
    [(ONE, ONE), (ONE, EQUAL, ONE), (joined("AND", ONE), joined("AND", ONE)), (joined("OR", ONE, OTHER),)],
    ids=["twice", "apart", "nested alike", "either"],
)
def test_equal_siblings_count_once(parts: tuple[str, ...]) -> None:
    assert accepted(*parts)


@pytest.mark.parametrize(
    "parts",
    [(ONE, OTHER), (ONE, joined("AND", ONE)), (ONE, joined("OR", ONE, EQUAL)), (ONE, joined("AND", EQUAL, ONE))],
    ids=["different", "deeper", "in an alternative", "among others"],
)
def test_a_second_one_in_a_conjunction_is_refused(parts: tuple[str, ...]) -> None:
    assert not accepted(*parts)
