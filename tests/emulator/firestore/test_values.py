from __future__ import annotations

import math
from itertools import count
from typing import Any

import pytest

from emulator.firestore import protocol as p
from emulator.firestore.values import check_fields, document_size, key_of, sum_of
from emulator.refusals import Refusal
from tests.emulator.firestore.raw import fields, timestamp, value, vector

ROOT = "projects/p/databases/(default)/documents"


def reference(path: str) -> Any:
    return p.Value(reference_value=f"{ROOT}/{path}")


def point(latitude: float, longitude: float) -> Any:
    made = p.Value()
    made.geo_point_value.latitude, made.geo_point_value.longitude = latitude, longitude
    return made


def nested(depth: int) -> Any:
    inner = value(1)
    for _ in range(depth):
        inner = value({"a": inner})
    return inner


def test_types_and_values_are_ordered_as_documented() -> None:
    ordered = [
        value(None),
        value({"__min__": None}),
        value(False),
        value(True),
        value(math.nan),
        value(-math.inf),
        value(-1),
        value({"__decimal128__": "-0.5"}),
        value({"__int__": 0}),
        value(0.5),
        value(2**53),
        value(2**53 + 1),
        timestamp(-1),
        timestamp(1),
        value({"__request_timestamp__": {"seconds": 1, "increment": 1}}),
        value(""),
        value("a"),
        value("￿"),
        value("\U0001f600"),
        value(b""),
        value(b"\xff"),
        value({"__binary__": b"\x80x"}),
        reference("a/b"),
        reference("a/c"),
        value({"__oid__": "507f191e810c19729de860ea"}),
        point(1, 2),
        point(1, 3),
        value({"__regex__": {"pattern": "a", "options": "i"}}),
        value([]),
        value([1]),
        value([1, 2]),
        value([2]),
        vector(9.0),
        vector(1.0, 2.0),
        value({}),
        value({"a": 1}),
        value({"a": 1, "b": 0}),
        value({"b": 0}),
        value({"__max__": None}),
    ]
    keys = [key_of(each) for each in ordered]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_integers_and_doubles_of_one_value_are_equal() -> None:
    assert key_of(value(1)) == key_of(value(1.0))
    assert key_of(value([1])) == key_of(value([1.0]))
    assert key_of(value(0.0)) == key_of(value(-0.0))


@pytest.mark.parametrize(
    "bad",
    [
        p.Value(),
        value([[1]]),
        value([vector(1.0)]),
        nested(21),
        value({"": 1}),
        value({"__x__": 1}),
        value("a" * 1_048_488),
        p.Value(reference_value="nonsense"),
        point(91, 0),
        point(0, math.nan),
        timestamp(10**15),
        timestamp(0, -1),
        value({"__type__": "__vector__", "value": 1}),
        value({"__int__": 2**31}),
        value({"__decimal128__": "one"}),
        value({"__oid__": "short"}),
        value({"__regex__": {"pattern": "a", "options": "l"}}),
        value({"__binary__": b""}),
        vector(),
        vector(*[0.0] * 2049),
    ],
    ids=count(),
)
def test_what_cannot_be_stored_is_refused(bad: Any) -> None:
    with pytest.raises(Refusal):
        check_fields({"f": bad})


def test_maps_may_be_twenty_deep() -> None:
    check_fields({"f": nested(20)})


def test_timestamps_are_cut_to_microseconds() -> None:
    stored = timestamp(1, 1_999)
    check_fields({"f": stored})
    assert stored.timestamp_value.nanos == 1_000


def test_a_document_counts_as_many_bytes_as_the_documentation_computes() -> None:
    # https://firebase.google.com/docs/firestore/storage-size: users/jeff/tasks/my_task_id is 147 bytes
    task = fields(type="Personal", done=False, priority=1, description="Learn Cloud Firestore")
    assert document_size("users/jeff/tasks/my_task_id", task) == 147


def test_sums_are_exact_until_they_overflow() -> None:
    assert sum_of([2**62, 2**62 - 1]) == 2**63 - 1
    assert isinstance(sum_of([2**62, 2**62]), float)
    assert math.isnan(sum_of([math.inf, -math.inf]))
    assert sum_of([1, 0.5]) == 1.5
