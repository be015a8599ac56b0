"""Aggregations over the answer of a query: count, sum and average.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#structuredaggregationquery
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from emulator.firestore.documents import Stored
from emulator.firestore.filters import NAME
from emulator.firestore.names import FieldPath, parse_field_path, reserved
from emulator.firestore.protocol import AggregationResult, Message, Value
from emulator.firestore.values import NULL_VALUE, field_at, number_value, numeric, sum_of
from emulator.refusals import invalid

MAX_AGGREGATIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One figure. ``path`` is None for a count; ``up_to`` bounds what is counted."""

    alias: str
    operator: str
    path: FieldPath | None
    up_to: int | None

    def over(self, documents: Sequence[Stored]) -> Message:
        """The figure for these documents."""
        if self.path is None:
            return Value(integer_value=len(documents) if self.up_to is None else min(len(documents), self.up_to))
        path = self.path
        numbers = [number for each in documents if (number := numeric(field_at(each.fields, path))) is not None]
        return _FIGURES[self.operator](numbers)


def _average(numbers: list[float]) -> Message:
    if not numbers:
        return NULL_VALUE
    return Value(double_value=float(sum_of([float(each) for each in numbers])) / len(numbers))


_FIGURES: Final[dict[str, Callable[[list[float]], Message]]] = {
    "sum": lambda numbers: number_value(sum_of(numbers)),
    "avg": _average,
}


def parse_aggregations(message: Message) -> list[Aggregation]:
    """Check the aggregations of a StructuredAggregationQuery. Raises Refusal."""
    if not message.aggregations:
        raise invalid("Aggregations can not be empty.")
    if len(message.aggregations) > MAX_AGGREGATIONS:
        raise invalid(f"The maximum number of aggregations allowed in an aggregation query is {MAX_AGGREGATIONS}.")
    taken = {each.alias for each in message.aggregations if each.alias}
    if len(taken) < sum(1 for each in message.aggregations if each.alias):
        raise invalid("Aggregation aliases contain duplicate alias.")
    found, number = [], 0
    for each in message.aggregations:
        alias = each.alias
        while not alias:
            number += 1
            alias = "" if f"field_{number}" in taken else f"field_{number}"
        found.append(_parse(each, alias))
    return found


def _parse(message: Message, alias: str) -> Aggregation:
    operator = message.WhichOneof("operator")
    if operator is None:
        raise invalid("Aggregation operator must be specified.")
    if reserved(alias):
        raise invalid(f'The alias "{alias}" is reserved.')
    if operator != "count":
        path = parse_field_path(getattr(message, operator).field.field_path)
        if path == NAME:
            raise invalid("Aggregations are not supported for the property: __name__")
        return Aggregation(alias, operator, path, None)
    up_to = message.count.up_to.value if message.count.HasField("up_to") else None
    if up_to is not None and up_to <= 0:
        raise invalid("up_to must be greater than zero.")
    return Aggregation(alias, operator, None, up_to)


def result_of(aggregations: Sequence[Aggregation], documents: Sequence[Stored]) -> Message:
    """All figures over the same documents."""
    return AggregationResult(aggregate_fields={each.alias: each.over(documents) for each in aggregations})
