"""Filters of queries: checked once, then asked of each document.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#structuredquery and the limits at
https://firebase.google.com/docs/firestore/query-data/queries#query_limitations
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final, TypeAlias

from emulator.firestore.bson import ARRAY, NAN, NULL, REFERENCE
from emulator.firestore.names import DOCUMENT_ID, FieldPath, name_key, parse_document, parse_field_path
from emulator.firestore.protocol import Message, StructuredQuery
from emulator.firestore.values import Key, check_value, field_at, key_of
from emulator.refusals import invalid

MAX_DISJUNCTIONS: Final = 30
MAX_NOT_IN: Final = 10
MAX_FILTERS: Final = 100
MAX_INEQUALITY_FIELDS: Final = 10

NAME: Final[FieldPath] = (DOCUMENT_ID,)
Test: TypeAlias = Callable[[Key], bool]
FieldFilter: Final[Message] = StructuredQuery.DESCRIPTOR.nested_types_by_name["FieldFilter"]._concrete_class  # noqa: SLF001
UnaryFilter: Final[Message] = StructuredQuery.DESCRIPTOR.nested_types_by_name["UnaryFilter"]._concrete_class  # noqa: SLF001
CompositeFilter: Final[Message] = StructuredQuery.DESCRIPTOR.nested_types_by_name["CompositeFilter"]._concrete_class  # noqa: SLF001

EQUALITIES: Final = frozenset({"EQUAL", "IN", "IS_NULL", "IS_NAN"})
CONTAINS: Final = frozenset({"ARRAY_CONTAINS", "ARRAY_CONTAINS_ANY"})
_RANGES: Final = frozenset({"LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "EQUAL"})
_NULL_KEY: Final[Key] = (NULL,)
_NAN_KEY: Final[Key] = (NAN,)
_NEGATIONS: Final = frozenset({"NOT_EQUAL", "NOT_IN", "IS_NOT_NULL", "IS_NOT_NAN"})
_LISTS: Final = frozenset({"IN", "NOT_IN", "ARRAY_CONTAINS_ANY"})


class Subject:
    """A document that a query looks into: the keys of its fields, each worked out at most once."""

    __slots__ = ("_database", "_fields", "_keys", "path")

    def __init__(self, database: str, path: str, fields: Mapping[str, Message]) -> None:
        """Look into a document of a database."""
        self.path = path
        self._database = database
        self._fields = fields
        self._keys: dict[FieldPath, Key | None] = {}

    def key(self, path: FieldPath) -> Key | None:
        """The key of the value at a path, None if there is none."""
        if path in self._keys:
            return self._keys[path]
        if path == NAME:
            found: Key | None = (REFERENCE, self._database, name_key(self.path))
        else:
            value = field_at(self._fields, path)
            found = None if value is None else key_of(value)
        self._keys[path] = found
        return found


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on one field."""

    path: FieldPath
    operator: str
    test: Test
    keys: tuple[Key, ...] = ()
    branches: int = 1
    never: bool = False
    """No comparison with null or NaN holds; clients ask for those with unary filters."""

    def matches(self, subject: Subject) -> bool:
        """Whether a document fulfils it; one without the field fulfils nothing."""
        key = subject.key(self.path)
        return key is not None and self.test(key)

    def conditions(self) -> Iterator[Condition]:
        """Itself."""
        yield self

    @property
    def inequality(self) -> bool:
        """Whether it needs the results in the order of its field."""
        return not self.never and self.operator not in EQUALITIES and self.operator not in CONTAINS

    def alternatives(self) -> Iterator[tuple[Condition, ...]]:
        """The conjunctions of which one must hold."""
        yield (self,)


@dataclass(frozen=True, slots=True)
class Junction:
    """Filters of which all, or any, must hold."""

    operator: str
    filters: tuple[Filter, ...]

    def matches(self, subject: Subject) -> bool:
        """Whether a document fulfils it."""
        combine = all if self.operator == "AND" else any
        return combine(each.matches(subject) for each in self.filters)

    def conditions(self) -> Iterator[Condition]:
        """All conditions in it, however deep."""
        for each in self.filters:
            yield from each.conditions()

    @property
    def branches(self) -> int:
        """Into how many conjunctions it falls apart."""
        counts = [each.branches for each in self.filters]
        return prod(counts) if self.operator == "AND" else sum(counts)

    def alternatives(self) -> Iterator[tuple[Condition, ...]]:
        """The conjunctions of which one must hold."""
        if self.operator == "OR":
            for each in self.filters:
                yield from each.alternatives()
            return
        found: list[tuple[Condition, ...]] = [()]
        for each in self.filters:
            found = [(*left, *right) for left in found for right in each.alternatives()]
        yield from found


Filter: TypeAlias = Condition | Junction


def parse_filter(message: Message, depth: int = 0) -> Filter | None:
    """Check the ``where`` of a query; None if it asks for nothing. Raises Refusal."""
    which = message.WhichOneof("filter_type")
    if which is None:
        return None
    parsed = _parse(message, depth)
    conditions = list(parsed.conditions())
    _check_combination(parsed, conditions)
    return parsed


def _parse(message: Message, depth: int) -> Filter:
    which = message.WhichOneof("filter_type")
    if which == "composite_filter":
        return _parse_composite(message.composite_filter, depth)
    if which == "field_filter":
        return _parse_field(message.field_filter)
    if which == "unary_filter":
        return _parse_unary(message.unary_filter)
    raise invalid("A filter must be one of composite_filter, field_filter and unary_filter.")


def _parse_composite(message: Message, depth: int) -> Filter:
    if message.op not in CompositeFilter.Operator.values() or not message.op:
        raise invalid("The operator of a composite filter must be AND or OR.")
    if not message.filters:
        raise invalid("A composite filter must have at least one filter.")
    if depth > MAX_FILTERS or len(message.filters) > MAX_FILTERS:
        raise invalid(f"A query may have at most {MAX_FILTERS} filters.")
    different = {each.SerializeToString(deterministic=True): each for each in message.filters}.values()
    inner = tuple(_parse(each, depth + 1) for each in different)
    return Junction(CompositeFilter.Operator.Name(message.op), inner)


def _parse_field(message: Message) -> Condition:
    operators = FieldFilter.Operator
    if message.op not in operators.values() or not message.op:
        raise invalid("The operator of a field filter must be specified.")
    operator, path = operators.Name(message.op), parse_field_path(message.field.field_path)
    if operator in _LISTS:
        given = _listed(operator, message.value)
        branches = 1 if operator == "NOT_IN" else len(given)
    else:
        given, branches = [message.value], 1
    for each in given:
        check_value(each)
    if path == NAME:
        _check_names(operator, given)
    keys = [key_of(each) for each in given]
    if (set(keys) == {_NULL_KEY} and operator in _RANGES | _NEGATIONS) or (keys == [_NAN_KEY] and operator in _RANGES):
        return Condition(path, operator, lambda _key: False, never=True)
    return Condition(path, operator, _TESTS[operator](keys), tuple(keys), branches)


def _listed(operator: str, value: Message) -> list[Message]:
    if value.WhichOneof("value_type") != "array_value":
        raise invalid(f"'{operator}' requires an ArrayValue.")
    given = list(value.array_value.values)
    limit = MAX_NOT_IN if operator == "NOT_IN" else MAX_DISJUNCTIONS
    if not given:
        raise invalid(f"'{operator}' requires an non-empty ArrayValue.")
    if len(given) > limit:
        raise invalid(f"'{operator}' supports up to {limit} comparison values.")
    return given


def _check_names(operator: str, given: list[Message]) -> None:
    if operator in CONTAINS:
        raise invalid(f"{DOCUMENT_ID} cannot be used with {operator}.")
    for each in given:
        if each.WhichOneof("value_type") != "reference_value":
            raise invalid("__key__ filter value must be a Key")
        parse_document(each.reference_value)


def _parse_unary(message: Message) -> Condition:
    operators = UnaryFilter.Operator
    if message.op not in operators.values() or not message.op:
        raise invalid("The operator of a unary filter must be specified.")
    operator, path = operators.Name(message.op), parse_field_path(message.field.field_path)
    if path == NAME:
        raise invalid(f"{DOCUMENT_ID} cannot be used with {operator}.")
    return Condition(path, operator, _UNARY[operator])


def _check_combination(parsed: Filter, conditions: list[Condition]) -> None:
    if len(conditions) > MAX_FILTERS:
        raise invalid(f"A query may have at most {MAX_FILTERS} filters.")
    if parsed.branches > MAX_DISJUNCTIONS:
        raise invalid(f"The query has too many disjunctions: {parsed.branches}, at most {MAX_DISJUNCTIONS}.")
    operators = [each.operator for each in conditions]
    if sum(1 for each in operators if each in _NEGATIONS) > 1:
        listed = "'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL'"
        raise invalid(f"Only a single {listed} filter allowed per query.")
    if "NOT_IN" in operators and ({"IN", "ARRAY_CONTAINS_ANY"} & set(operators) or _has_or(parsed)):
        raise invalid("'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'.")
    for each in parsed.alternatives():
        if sum(1 for condition in each if condition.operator in CONTAINS) > 1:
            raise invalid("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")
    unequal = {each.path for each in conditions if each.inequality}
    if unequal and NAME not in unequal and any(each.path == NAME for each in conditions):
        raise invalid(
            "Equality on key is not allowed if there are other inequality fields and key does not appear in "
            "inequalities."
        )
    if len(unequal) > MAX_INEQUALITY_FIELDS:
        raise invalid(f"A query may have inequality filters on at most {MAX_INEQUALITY_FIELDS} fields.")


def _has_or(parsed: Filter) -> bool:
    return isinstance(parsed, Junction) and (parsed.operator == "OR" or any(map(_has_or, parsed.filters)))


def _compared(holds: Callable[[Key, Key], bool]) -> Callable[[list[Key]], Test]:
    """A range filter: it looks at values of the type that it was given."""

    def made(keys: list[Key]) -> Test:
        given = keys[0]
        return lambda key: key[0] == given[0] and holds(key, given)

    return made


def _comparable(keys: list[Key]) -> frozenset[Key]:
    return frozenset(keys) - {_NULL_KEY, _NAN_KEY}


def _any_of(keys: list[Key]) -> Test:
    wanted = _comparable(keys)
    return lambda key: key in wanted


def _none_of(keys: list[Key]) -> Test:
    unwanted = _comparable(keys)
    if _NULL_KEY in keys:
        return lambda _key: False
    return lambda key: key[0] != NULL and key not in unwanted


def _contains(keys: list[Key]) -> Test:
    wanted = _comparable(keys)
    return lambda key: key[0] == ARRAY and not wanted.isdisjoint(key[1])


_TESTS: Final[Mapping[str, Callable[[list[Key]], Test]]] = {
    "EQUAL": _any_of,
    "NOT_EQUAL": _none_of,
    "LESS_THAN": _compared(lambda key, given: key < given),
    "LESS_THAN_OR_EQUAL": _compared(lambda key, given: key <= given),
    "GREATER_THAN": _compared(lambda key, given: key > given),
    "GREATER_THAN_OR_EQUAL": _compared(lambda key, given: key >= given),
    "IN": _any_of,
    "NOT_IN": _none_of,
    "ARRAY_CONTAINS": _contains,
    "ARRAY_CONTAINS_ANY": _contains,
}
_UNARY: Final[Mapping[str, Test]] = {
    "IS_NULL": lambda key: key[0] == NULL,
    "IS_NOT_NULL": lambda key: key[0] != NULL,
    "IS_NAN": lambda key: key[0] == NAN,
    "IS_NOT_NAN": lambda key: key[0] not in {NULL, NAN},
}
