"""Field transforms: each a function of the value before, that gives the value after and what the client is told.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#fieldtransform
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from emulator.firestore.names import FieldPath, parse_field_path
from emulator.firestore.protocol import ArrayValue, FieldTransform, Message, Value
from emulator.firestore.values import (
    INT64_MAX,
    INT64_MIN,
    NULL_VALUE,
    check_value,
    key_of,
    number_value,
    numeric,
    timestamp_of,
)
from emulator.refusals import invalid

MILLISECOND: Final = 1000
Applied: TypeAlias = tuple[Message, Message]
Step: TypeAlias = Callable[[Message | None, int], Applied]


@dataclass(frozen=True, slots=True)
class Transform:
    """One transform of one field; ``apply(before, time)`` returns the value after and the transform result.

    ``timed`` says that the value is the time.
    """

    path: FieldPath
    apply: Step
    timed: bool


def parse_transform(message: Message) -> Transform:
    """Check a FieldTransform. Raises Refusal."""
    path = parse_field_path(message.field_path)
    operation = message.WhichOneof("transform_type")
    if operation is None:
        raise invalid("Operation type must be specified for field transformation.")
    return Transform(path, _OPERATIONS[operation](message), operation == "set_to_server_value")


def _server_timestamp(message: Message) -> Step:
    if message.set_to_server_value != FieldTransform.REQUEST_TIME:
        raise invalid("Operation type must be specified for field transformation.")

    def apply(_before: Message | None, time: int) -> Applied:
        after = Value(timestamp_value=timestamp_of(time - time % MILLISECOND))
        return after, after

    return apply


def _operand(value: Message) -> float:
    number = numeric(value)
    if number is None:
        raise invalid("Input must be int64 or double.")
    return number


def _increment(message: Message) -> Step:
    given, operand = message.increment, _operand(message.increment)

    def apply(before: Message | None, _time: int) -> Applied:
        number = numeric(before)
        after = given if number is None else number_value(_saturated(number + operand))
        return after, after

    return apply


def _saturated(number: float) -> float:
    return min(max(number, INT64_MIN), INT64_MAX) if isinstance(number, int) else number


def _extreme(given: Message, better: Callable[[float, float], bool]) -> Step:
    operand = _operand(given)

    def apply(before: Message | None, _time: int) -> Applied:
        number = numeric(before)
        if number is None or before is None:
            return given, given
        is_nan = operand != operand and number == number  # noqa: PLR0124  # NaN wins over every number
        after = given if is_nan or better(operand, number) else before
        return after, after

    return apply


def _elements(array: Message) -> list[Message]:
    check_value(Value(array_value=array))
    return list(array.values)


def _current(before: Message | None) -> list[Message]:
    return list(before.array_value.values) if before is not None else []


def _append_missing(message: Message) -> Step:
    given = _elements(message.append_missing_elements)

    def apply(before: Message | None, _time: int) -> Applied:
        kept = _current(before)
        seen = {key_of(each) for each in kept}
        for each in given:
            if (key := key_of(each)) not in seen:
                seen.add(key)
                kept.append(each)
        return Value(array_value=ArrayValue(values=kept)), NULL_VALUE

    return apply


def _remove_all(message: Message) -> Step:
    unwanted = {key_of(each) for each in _elements(message.remove_all_from_array)}

    def apply(before: Message | None, _time: int) -> Applied:
        kept = [each for each in _current(before) if key_of(each) not in unwanted]
        return Value(array_value=ArrayValue(values=kept)), NULL_VALUE

    return apply


_OPERATIONS: Final[Mapping[str, Callable[[Message], Step]]] = {
    "set_to_server_value": _server_timestamp,
    "increment": _increment,
    "maximum": lambda message: _extreme(message.maximum, lambda given, number: given > number),
    "minimum": lambda message: _extreme(message.minimum, lambda given, number: given < number),
    "append_missing_elements": _append_missing,
    "remove_all_from_array": _remove_all,
}
