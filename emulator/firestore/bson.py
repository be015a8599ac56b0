"""BSON types, which clients of the Enterprise edition write as maps with one reserved field.

Where they stand among the other types follows the order that Google's web client uses. Numbers of all types compare
by their values. https://cloud.google.com/firestore/mongodb-compatibility/docs/data-types
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from emulator.firestore.protocol import Message
from emulator.refusals import Refusal, invalid

NULL, MIN_KEY, BOOLEAN, NAN, NUMBER, TIMESTAMP, BSON_TIMESTAMP, STRING, BYTES, BINARY = range(10)
REFERENCE, OBJECT_ID, GEO_POINT, REGEX, ARRAY, VECTOR, MAP, MAX_KEY = range(10, 18)

_REGEX_OPTIONS: Final = frozenset("imsux")
_OBJECT_ID_DIGITS: Final = 24
_INFINITIES: Final = {"inf": "Infinity", "+inf": "Infinity", "infinity": "Infinity", "-inf": "-Infinity"}


def bson_kind(value: Message) -> str:
    """The reserved field of a map that stands for a BSON value, empty for other values."""
    fields = value.map_value.fields
    if len(fields) != 1:
        return ""
    (name,) = fields
    return name if name in _KEYS else ""


def bson_key(kind: str, value: Message) -> tuple[Any, ...]:
    """A key that compares with those of other values."""
    return _KEYS[kind](value.map_value.fields[kind])


def check_bson(kind: str, value: Message) -> None:
    """Refuse what is no value of its type, and write decimals as Firestore does. Raises Refusal."""
    inner = value.map_value.fields[kind]
    if kind == "__decimal128__":
        inner.string_value = _INFINITIES.get(inner.string_value.lower(), inner.string_value)
    try:
        _CHECKS[kind](inner)
    except (ValueError, InvalidOperation):
        raise _wrong(kind) from None


def _wrong(kind: str) -> Refusal:
    return invalid(f"The value of {kind} is not valid for its type.")


def _expect(holds: bool) -> None:  # noqa: FBT001  # it is the question itself
    if not holds:
        raise ValueError


def _check_regex(inner: Message) -> None:
    fields = inner.map_value.fields
    _expect(set(fields) == {"pattern", "options"})
    wrong = set(fields["options"].string_value) - _REGEX_OPTIONS
    if wrong:
        raise invalid(f"Invalid regex option '{min(wrong)}'. Supported options are i, m, s, u and x.")


def _check_timestamp(inner: Message) -> None:
    fields = inner.map_value.fields
    _expect(set(fields) == {"seconds", "increment"})
    _expect(all(0 <= each.integer_value < 2**32 for each in fields.values()))


def _check_object_id(inner: Message) -> None:
    _expect(len(inner.string_value) == _OBJECT_ID_DIGITS)
    int(inner.string_value, 16)


_CHECKS: Final[Mapping[str, Callable[[Message], object]]] = {
    "__min__": lambda inner: _expect(inner.HasField("null_value")),
    "__max__": lambda inner: _expect(inner.HasField("null_value")),
    "__int__": lambda inner: _expect(inner.HasField("integer_value") and -(2**31) <= inner.integer_value < 2**31),
    "__decimal128__": lambda inner: Decimal(inner.string_value),
    "__request_timestamp__": _check_timestamp,
    "__binary__": lambda inner: _expect(len(inner.bytes_value) > 0),
    "__oid__": _check_object_id,
    "__regex__": _check_regex,
}


def _decimal_key(inner: Message) -> tuple[Any, ...]:
    number = Decimal(inner.string_value)
    return (NAN,) if number.is_nan() else (NUMBER, number)


def _pair_key(order: int, first: str, second: str, kind: str) -> Callable[[Message], tuple[Any, ...]]:
    def key(inner: Message) -> tuple[Any, ...]:
        fields = inner.map_value.fields
        return (order, getattr(fields[first], kind), getattr(fields[second], kind))

    return key


_KEYS: Final[Mapping[str, Callable[[Message], tuple[Any, ...]]]] = {
    "__min__": lambda _inner: (MIN_KEY,),
    "__max__": lambda _inner: (MAX_KEY,),
    "__int__": lambda inner: (NUMBER, inner.integer_value),
    "__decimal128__": _decimal_key,
    "__request_timestamp__": _pair_key(BSON_TIMESTAMP, "seconds", "increment", "integer_value"),
    "__binary__": lambda inner: (BINARY, inner.bytes_value),
    "__oid__": lambda inner: (OBJECT_ID, inner.string_value),
    "__regex__": _pair_key(REGEX, "pattern", "options", "string_value"),
}
