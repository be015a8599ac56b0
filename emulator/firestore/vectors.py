"""Nearest neighbours: ``find_nearest`` by comparing with every vector, as a small database can.

https://firebase.google.com/docs/firestore/vector-search
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from emulator.firestore.names import FieldPath, parse_field_path, reserved
from emulator.firestore.protocol import Message, StructuredQuery
from emulator.firestore.values import check_value, field_at, is_vector, vector_of
from emulator.refusals import invalid

MAX_NEIGHBOURS: Final = 1000
_Measures: Final[Message] = StructuredQuery.DESCRIPTOR.nested_types_by_name["FindNearest"]._concrete_class  # noqa: SLF001
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Nearest:
    """What to be near to, by which measure, and how many."""

    path: FieldPath
    vector: tuple[float, ...]
    measure: str
    limit: int
    threshold: float | None
    result_field: FieldPath | None

    def rank(self, candidates: Iterable[tuple[_T, Mapping[str, Message]]]) -> list[tuple[_T, float]]:
        """Those that have a vector of the same dimension, the nearest first, those without an angle last."""
        measured = [(each, distance) for each, fields in candidates if (distance := self._distance(fields)) is not None]
        sign = -1 if self.measure == "DOT_PRODUCT" else 1
        measured.sort(key=lambda pair: (math.isnan(pair[1]), sign * pair[1]))
        return measured[: self.limit]

    def _distance(self, fields: Mapping[str, Message]) -> float | None:
        value = field_at(fields, self.path)
        if value is None or not is_vector(value):
            return None
        vector = vector_of(value)
        if len(vector) != len(self.vector):
            return None
        distance = _MEASURES[self.measure](self.vector, vector)
        if self.threshold is None:
            return distance
        near = distance >= self.threshold if self.measure == "DOT_PRODUCT" else distance <= self.threshold
        return distance if near else None


def parse_nearest(message: Message) -> Nearest:
    """Check a FindNearest. Raises Refusal."""
    path = parse_field_path(message.vector_field.field_path)
    check_value(message.query_vector)
    if not is_vector(message.query_vector):
        raise invalid("The query vector must be a vector.")
    measures = _Measures.DistanceMeasure
    if not message.distance_measure or message.distance_measure not in measures.values():
        raise invalid("The distance measure must be specified.")
    if not message.HasField("limit") or not 0 < message.limit.value <= MAX_NEIGHBOURS:
        raise invalid(f"The limit of find_nearest must be between 1 and {MAX_NEIGHBOURS}.")
    return Nearest(
        path=path,
        vector=tuple(vector_of(message.query_vector)),
        measure=measures.Name(message.distance_measure),
        limit=int(message.limit.value),
        threshold=message.distance_threshold.value if message.HasField("distance_threshold") else None,
        result_field=_result_field(message.distance_result_field) if message.distance_result_field else None,
    )


def _result_field(text: str) -> FieldPath:
    path = parse_field_path(text)
    if strange := next(filter(reserved, path), None):
        raise invalid(f'The distance_result_field "{strange}" is reserved.')
    return path


def _cosine(left: Iterable[float], right: Iterable[float]) -> float:
    left, right = tuple(left), tuple(right)
    lengths = math.hypot(*left) * math.hypot(*right)
    return 1.0 - _dot(left, right) / lengths if lengths else math.nan


def _dot(left: Iterable[float], right: Iterable[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


_MEASURES: Final[Mapping[str, Callable[[tuple[float, ...], list[float]], float]]] = {
    "EUCLIDEAN": math.dist,
    "COSINE": _cosine,
    "DOT_PRODUCT": _dot,
}
