"""The limits of what crosses a boundary: money, moments, names and JSON."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from agent_mesh.contracts.values import (
    FAULT_LIMIT_CHARACTERS,
    LATEST_UNIX_SECONDS,
    MAX_ATTEMPT,
    MAX_CENTS,
    PAYLOAD_LIMIT_BYTES,
    RESULT_LIMIT_BYTES,
    AgentName,
    Attempt,
    CallbackUrl,
    Cents,
    FaultText,
    IdempotencyKey,
    JsonObject,
    Strict,
    TaskId,
    Tolerant,
    TraceId,
    UnixSeconds,
    as_json,
    canonical_json,
    result_text,
    to_json,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Order(Strict):
    """A request of a client."""

    unit_price: Cents
    not_before: UnixSeconds | None = None


class Note(Tolerant):
    """A message of another role."""

    unit_price: Cents


def accepts(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def payload_of(size: int) -> dict[str, JsonValue]:
    return {"a": "x" * (size - len('{"a":""}'))}


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)], ids=["at the limit", "one byte more"])
def test_a_payload_of_256_kib_fits_and_not_a_byte_more(extra: int, fits: bool) -> None:
    assert accepts(JsonObject, payload_of(PAYLOAD_LIMIT_BYTES + extra)) is fits


def test_a_payload_is_measured_in_utf_8_and_not_in_characters_or_escapes() -> None:
    euros = (PAYLOAD_LIMIT_BYTES - len('{"a":""}')) // 3
    assert accepts(JsonObject, {"a": "€" * euros})
    assert not accepts(JsonObject, {"a": "€" * (euros + 1)})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused_however_deep_it_lies(number: float) -> None:
    with pytest.raises(ValidationError, match="a number that JSON does not have"):
        TypeAdapter(JsonObject).validate_python({"a": [1, {"b": [{"c": number}]}]})


def test_a_payload_sent_as_json_with_a_nan_is_refused_too() -> None:
    with pytest.raises(ValidationError, match="a number that JSON does not have"):
        TypeAdapter(JsonObject).validate_json('{"a": [{"b": NaN}]}')


@pytest.mark.parametrize("payload", [[], "text", 1, None], ids=repr)
def test_a_payload_is_an_object(payload: object) -> None:
    assert not accepts(JsonObject, payload)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Cents, [0, 1, MAX_CENTS], [-1, MAX_CENTS + 1, 1.0, "1", True, None]),
        (Attempt, [0, 1, MAX_ATTEMPT], [-1, MAX_ATTEMPT + 1, True]),
        (
            UnixSeconds,
            [1, 0.001, LATEST_UNIX_SECONDS],
            [0, -1, LATEST_UNIX_SECONDS + 1, 1_800_000_000_000, math.nan, math.inf, "1", True],
        ),
        (AgentName, ["light", "a", "A-1_b.c", "a" * 63], ["", "-a", ".a", "a" * 64, "a/b", "a b", "é", "a\n"]),
        (IdempotencyKey, ["k", "k" * 255, "ключ"], ["", "k" * 256, "a\nb", "a\x7f", "\x00"]),
        (TraceId, ["t", "a" * 128, "!~"], ["", "a" * 129, "a b", "é", "a\n"]),
        (TaskId, ["t", "a" * 128, "A-_9", "__t_", "___"], ["", "a" * 129, "a/b", "a.b", "a\n", "____", "__t__"]),
        (CallbackUrl, ["https://a", "h" * 2048], ["https:/", "h" * 2049]),
    ],
    ids=["cents", "attempt", "unix seconds", "agent", "key", "trace id", "task id", "callback url"],
)
def test_a_value_has_its_limits(kind: Any, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if not accepts(kind, value)] == []
    assert [value for value in bad if accepts(kind, value)] == []


def test_a_client_writes_camel_case_and_nothing_unknown() -> None:
    assert Order.model_validate_json('{"unitPrice": 5}').unit_price == 5
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Order.model_validate_json('{"unitPrice": 5, "tip": 1}')
    assert Order(unit_price=5).model_dump_json(by_alias=True, exclude_none=True) == '{"unitPrice":5}'


@pytest.mark.parametrize("text", ['{"unitPrice": "5"}', '{"unitPrice": 5.0}', '{"unitPrice": true}'])
def test_nothing_is_coerced(text: str) -> None:
    for kind in (Order, Note):
        with pytest.raises(ValidationError):
            kind.model_validate_json(text)


def test_a_role_ignores_what_a_newer_role_adds() -> None:
    assert Note.model_validate_json('{"unitPrice": 5, "tip": 1}') == Note(unit_price=5)


@given(VALUES)
def test_json_text_comes_back_as_the_value_it_was(value: JsonValue) -> None:
    assert json.loads(to_json(value)) == value


def test_json_text_is_compact_and_not_escaped() -> None:
    assert to_json({"b": [1, "é"], "a": None}) == '{"b":[1,"é"],"a":null}'


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, JsonValue]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_sorts_at_every_level() -> None:
    assert canonical_json({"b": {"d": 1, "c": 2}, "a": 3}) == '{"a":3,"b":{"c":2,"d":1}}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": math.nan})


class _Part(BaseModel):
    part_id: int = Field(serialization_alias="partId")


def test_what_pydantic_knows_becomes_json() -> None:
    value = {"at": datetime(2026, 1, 2, tzinfo=UTC), "id": UUID(int=1), "part": _Part(part_id=1), 3: (1, 2)}
    assert as_json(value) == {
        "at": "2026-01-02T00:00:00Z",
        "id": "00000000-0000-0000-0000-000000000001",
        "part": {"partId": 1},
        "3": [1, 2],
    }


@pytest.mark.parametrize("value", [object(), b"\xff", {"a": object()}], ids=["object", "bytes", "deep"])
def test_what_pydantic_does_not_know_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        as_json(value)


def test_a_nan_in_a_result_is_kept_so_that_it_is_refused_and_not_turned_into_null() -> None:
    converted = as_json({"a": [math.nan]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(converted)


def test_a_result_of_512_kib_is_kept_and_not_a_byte_more() -> None:
    largest = "x" * (RESULT_LIMIT_BYTES - 2)
    assert result_text(largest) == f'"{largest}"'
    with pytest.raises(ValueError, match=f"the result is {RESULT_LIMIT_BYTES + 1} bytes"):
        result_text(largest + "x")


def test_no_result_has_no_text_and_a_false_one_has() -> None:
    assert result_text(None) is None
    assert result_text(value=False) == "false"
    with pytest.raises(ValueError, match="not JSON compliant"):
        result_text([math.inf])


@given(st.text(alphabet=st.characters(codec=None), max_size=50))
def test_a_reason_can_always_be_stored(text: str) -> None:
    stored = TypeAdapter(FaultText).validate_python(text).encode().decode()
    assert len(stored) == len(text)


def test_a_reason_is_shortened() -> None:
    assert len(TypeAdapter(FaultText).validate_python("x" * 9999)) == FAULT_LIMIT_CHARACTERS
