"""Values: their order, equality and size, and what is refused as a value.

Order of types: https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering. A value's key
is a tuple that Python compares as Firestore compares values, so that sorting and equality need no code of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from emulator.firestore.bson import (
    ARRAY,
    BOOLEAN,
    BYTES,
    GEO_POINT,
    MAP,
    NAN,
    NULL,
    NUMBER,
    REFERENCE,
    STRING,
    TIMESTAMP,
    VECTOR,
    bson_key,
    bson_kind,
    check_bson,
)
from emulator.firestore.names import FieldPath, format_field_path, name_key, parse_document, reserved
from emulator.firestore.protocol import Message, Timestamp, Value
from emulator.refusals import invalid

Key: TypeAlias = tuple[Any, ...]

MAX_DEPTH: Final = 20
MAX_DOCUMENT_BYTES: Final = 1_048_576
MAX_VALUE_BYTES: Final = 1_048_487
MAX_FIELD_NAME_BYTES: Final = 1_500
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
_MICRO: Final = 1_000_000
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_VECTOR_TYPE: Final = "__vector__"
_MAX_DIMENSIONS: Final = 2048

NULL_VALUE: Final[Message] = Value(null_value=0)


def micros(timestamp: Message) -> int:
    """A timestamp in microseconds; what is finer is cut off, as Firestore stores it."""
    return int(timestamp.seconds) * _MICRO + int(timestamp.nanos) // 1000


def timestamp_of(when: int) -> Message:
    """The timestamp of so many microseconds."""
    seconds, rest = divmod(when, _MICRO)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def kind_of(value: Message) -> str:
    """Which member of the value is set. Raises Refusal if none is."""
    kind = value.WhichOneof("value_type")
    if kind is None:
        raise invalid("Cannot convert firestore.v1.Value with type unset.")
    return str(kind)


def is_vector(value: Message) -> bool:
    """Whether a map is what the clients write for a vector."""
    fields = value.map_value.fields
    return "__type__" in fields and fields["__type__"].string_value == _VECTOR_TYPE


def vector_of(value: Message) -> list[float]:
    """The numbers of a vector."""
    return [
        float(each.double_value if each.WhichOneof("value_type") == "double_value" else each.integer_value)
        for each in value.map_value.fields["value"].array_value.values
    ]


def number_key(number: float) -> Key:
    """The key of an integer or a double."""
    return (NAN,) if number != number else (NUMBER, number)  # noqa: PLR0124  # only NaN differs from itself


def _reference_key(value: Message) -> Key:
    name = parse_document(value.reference_value)
    return (REFERENCE, name.database, name_key(name.path))


def _map_key(value: Message) -> Key:
    if is_vector(value):
        numbers = vector_of(value)
        return (VECTOR, len(numbers), tuple(map(number_key, numbers)))
    if kind := bson_kind(value):
        return bson_key(kind, value)
    fields = value.map_value.fields
    return (MAP, tuple((name.encode(), key_of(fields[name])) for name in sorted(fields, key=str.encode)))


_KEYS: Final[Mapping[str, Callable[[Message], Key]]] = {
    "null_value": lambda _value: (NULL,),
    "boolean_value": lambda value: (BOOLEAN, value.boolean_value),
    "integer_value": lambda value: (NUMBER, value.integer_value),
    "double_value": lambda value: number_key(value.double_value),
    "timestamp_value": lambda value: (TIMESTAMP, micros(value.timestamp_value)),
    "string_value": lambda value: (STRING, value.string_value.encode()),
    "bytes_value": lambda value: (BYTES, value.bytes_value),
    "reference_value": _reference_key,
    "geo_point_value": lambda value: (GEO_POINT, value.geo_point_value.latitude, value.geo_point_value.longitude),
    "array_value": lambda value: (ARRAY, tuple(key_of(each) for each in value.array_value.values)),
    "map_value": _map_key,
}


def key_of(value: Message) -> Key:
    """A tuple that compares as Firestore compares values; equal keys are equal values, so 1 equals 1.0."""
    key = _KEYS.get(kind_of(value))
    if key is None:
        raise invalid(f"A value of the type {kind_of(value)} can be used in pipelines only.")
    return key(value)


def field_at(fields: Mapping[str, Message], path: FieldPath) -> Message | None:
    """The value at a field path, None where a map on the way or the field itself is missing. Vectors have no fields."""
    for segment in path[:-1]:
        if segment not in fields or is_vector(fields[segment]):
            return None
        fields = fields[segment].map_value.fields
    return fields.get(path[-1])


def check_fields(fields: Mapping[str, Message], depth: int = 0, path: FieldPath = ()) -> None:
    """Refuse what cannot be stored, and cut timestamps to microseconds in place."""
    for name, value in fields.items():
        if not name:
            raise invalid("The property.name is the empty string.")
        if len(name.encode()) > MAX_FIELD_NAME_BYTES:
            raise invalid(f"The property.name is longer than {MAX_FIELD_NAME_BYTES} bytes.")
        if reserved(name):
            raise invalid(f"field name {name} is reserved")
        check_value(value, depth, (*path, name))


def check_value(value: Message, depth: int = 0, path: FieldPath = ()) -> None:
    """Refuse a value that cannot be stored, and cut timestamps to microseconds in place."""
    check = _CHECKS.get(kind_of(value))
    if check is not None:
        check(value, depth, path)


def _check_map(value: Message, depth: int, path: FieldPath) -> None:
    if depth >= MAX_DEPTH:
        raise invalid(f"Property {path[0] if path else ''} contains an invalid nested entity.")
    if is_vector(value):
        _check_vector(value)
    elif kind := bson_kind(value):
        check_bson(kind, value)
    else:
        check_fields(value.map_value.fields, depth + 1, path)


def _check_vector(value: Message) -> None:
    fields = value.map_value.fields
    if set(fields) != {"__type__", "value"} or fields["value"].WhichOneof("value_type") != "array_value":
        raise invalid('A vector must have exactly the fields "__type__" and "value", and its value must be an array.')
    numbers = fields["value"].array_value.values
    if any(each.WhichOneof("value_type") not in {"double_value", "integer_value"} for each in numbers):
        raise invalid("Vector values must be numbers.")
    if not 0 < len(numbers) <= _MAX_DIMENSIONS:
        raise invalid(f"A vector must have between 1 and {_MAX_DIMENSIONS} dimensions, not {len(numbers)}.")


def _check_array(value: Message, depth: int, path: FieldPath) -> None:
    for each in value.array_value.values:
        if each.WhichOneof("value_type") == "array_value":
            raise invalid("Cannot convert an array value in an array value.")
        if each.WhichOneof("value_type") == "map_value" and is_vector(each):
            raise invalid("Cannot convert a vector value in an array value.")
        check_value(each, depth, path)


def _check_timestamp(value: Message, _depth: int, _path: FieldPath) -> None:
    when = value.timestamp_value
    if not _FIRST_SECOND <= when.seconds <= _LAST_SECOND:
        raise invalid("Timestamp seconds exceeds limit for field.")
    if not 0 <= when.nanos < _MICRO * 1000:
        raise invalid("Timestamp nanos exceeds limit for field.")
    when.nanos -= when.nanos % 1000


def _check_geo_point(value: Message, _depth: int, _path: FieldPath) -> None:
    point = value.geo_point_value
    for name, degrees, limit in (("latitude", point.latitude, 90.0), ("longitude", point.longitude, 180.0)):
        if not -limit <= degrees <= limit:
            raise invalid(f"Geo point {name} '{degrees}' outside permitted range {-limit} to {limit}.")


def _check_reference(value: Message, _depth: int, _path: FieldPath) -> None:
    name = value.reference_value
    if not name.startswith("projects/"):
        raise invalid(f'Resource name "{name}" lacks "projects" at index 0.')
    parse_document(name)


def _check_long(value: Message, _depth: int, path: FieldPath) -> None:
    size = len(value.bytes_value) or len(value.string_value.encode())
    if size > MAX_VALUE_BYTES:
        where = format_field_path(path) if path else ""
        raise invalid(f'The value of property "{where}" is longer than {MAX_VALUE_BYTES} bytes.')


def _refuse_pipeline(value: Message, _depth: int, _path: FieldPath) -> None:
    raise invalid(f"A value of the type {kind_of(value)} can be used in pipelines only.")


_CHECKS: Final[Mapping[str, Callable[[Message, int, FieldPath], None]]] = {
    "map_value": _check_map,
    "array_value": _check_array,
    "timestamp_value": _check_timestamp,
    "geo_point_value": _check_geo_point,
    "reference_value": _check_reference,
    "string_value": _check_long,
    "bytes_value": _check_long,
    "field_reference_value": _refuse_pipeline,
    "variable_reference_value": _refuse_pipeline,
    "function_value": _refuse_pipeline,
    "pipeline_value": _refuse_pipeline,
}


def document_size(path: str, fields: Mapping[str, Message]) -> int:
    """The size that counts against 1 MiB: https://firebase.google.com/docs/firestore/storage-size."""
    return _name_size(path) + 32 + _fields_size(fields)


def _name_size(path: str) -> int:
    return sum(len(segment.encode()) + 1 for segment in path.split("/")) + 16


def _fields_size(fields: Mapping[str, Message]) -> int:
    return sum(len(name.encode()) + 1 + value_size(value) for name, value in fields.items())


_SIZES: Final[Mapping[str, Callable[[Message], int]]] = {
    "null_value": lambda _value: 1,
    "boolean_value": lambda _value: 1,
    "geo_point_value": lambda _value: 16,
    "string_value": lambda value: len(value.string_value.encode()) + 1,
    "bytes_value": lambda value: len(value.bytes_value),
    "reference_value": lambda value: _name_size(value.reference_value.partition("/documents/")[2]),
    "array_value": lambda value: sum(map(value_size, value.array_value.values)),
    "map_value": lambda value: _fields_size(value.map_value.fields),
}


def value_size(value: Message) -> int:
    """The stored size of one value."""
    size = _SIZES.get(kind_of(value))
    return 8 if size is None else size(value)


def sum_of(numbers: Iterable[float]) -> float:
    """Add as Firestore does: integers exactly until they overflow, then as doubles."""
    listed = list(numbers)
    if all(isinstance(each, int) for each in listed):
        total = sum(listed)
        return total if INT64_MIN <= total <= INT64_MAX else float(total)
    try:
        return math.fsum(listed)
    except (OverflowError, ValueError):  # infinities of both signs, or a sum beyond doubles
        return sum(map(float, listed))


def numeric(value: Message | None) -> float | None:
    """The number in a value, None if it holds none."""
    kind = value.WhichOneof("value_type") if value is not None else None
    if value is None or kind not in {"integer_value", "double_value"}:
        return None
    return int(value.integer_value) if kind == "integer_value" else float(value.double_value)


def number_value(number: float) -> Message:
    """The value of a number."""
    return Value(integer_value=number) if isinstance(number, int) else Value(double_value=number)
