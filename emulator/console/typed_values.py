"""Firestore's values as JSON that keeps their type and never loses a digit: ``{"type": ..., "value": ...}``."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

from emulator.console.sources import Json
from emulator.firestore.protocol import Message
from emulator.firestore.values import is_vector, vector_of


def typed(value: Message) -> dict[str, Json]:
    """One value. Numbers are text: JavaScript has neither 64-bit integers nor a NaN in its JSON."""
    kind = value.WhichOneof("value_type") or "null_value"
    if is_vector(value):
        return {"type": "vector", "value": [_number(number) for number in vector_of(value)]}
    return {"type": kind.removesuffix("_value"), "value": _READABLE[kind](getattr(value, kind))}


def typed_fields(fields: Message) -> dict[str, Json]:
    """The fields of a document or a map, by name."""
    return {name: typed(fields[name]) for name in sorted(fields)}


def _number(number: float) -> str:
    return _NOT_FINITE.get(repr(number), repr(number))


def _short_name(reference: str) -> str:
    return reference.partition("/documents/")[2] or reference


_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_READABLE: Final[dict[str, Callable[[Message], Json]]] = {
    "null_value": lambda _: None,
    "boolean_value": bool,
    "integer_value": str,
    "double_value": _number,
    "timestamp_value": lambda time: time.ToJsonString(),
    "string_value": str,
    "bytes_value": lambda data: base64.b64encode(data).decode(),
    "reference_value": _short_name,
    "geo_point_value": lambda point: {"latitude": _number(point.latitude), "longitude": _number(point.longitude)},
    "array_value": lambda array: [typed(one) for one in array.values],
    "map_value": lambda value: typed_fields(value.fields),
}
