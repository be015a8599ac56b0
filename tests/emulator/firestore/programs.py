"""Random programs of operations, run on a Firestore; what they give is put into a form that can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from emulator.firestore import protocol as p
from tests.emulator.firestore.raw import RawFirestore, Refused, timestamp, value, vector

Step = Callable[["Run"], Any]
PROJECT = "programs"
PATHS = ["c/a", "c/b", "c/d", "c/__id7__", "c/a/s/x", "e/a/s/y", "s/z"]
FIELDS = ["f", "g", "m", "m.x", "m.`y z`", "`q q`"]
RECENT = 1_700_000_000


@dataclass
class Run:
    """One program on one server: its answers, and the server's times in the order they appeared."""

    firestore: RawFirestore
    times: list[tuple[int, int]] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)

    def do(self, step: Step) -> Any:
        try:
            return self.plain(step(self))
        except Refused as refused:
            return refused.code

    def plain(self, message: Any) -> Any:
        """A message as plain values; times of the server become the number of their appearance."""
        if isinstance(message, p.Timestamp):
            return self._moment(message)
        if isinstance(message, float):
            return "NaN" if math.isnan(message) else round(message, 9), "float"
        if isinstance(message, str):
            return message.replace(self.firestore.database, "db")
        if not hasattr(message, "ListFields"):
            if hasattr(message, "items"):
                return {key: self.plain(each) for key, each in sorted(message.items())}
            return [self.plain(each) for each in message] if _listed(message) else message
        shown = {
            each.name: self.plain(content) for each, content in message.ListFields() if each.name not in _UNCERTAIN
        }
        which = message.WhichOneof("value_type") if isinstance(message, p.Value) else None
        return shown | ({which: self.plain(getattr(message, which))} if which else {})

    def _moment(self, moment: Any) -> Any:
        when = (moment.seconds, moment.nanos)
        if moment.seconds < RECENT:
            return when
        if when not in self.times:
            self.times.append(when)
        return f"time {self.times.index(when)}"


_UNCERTAIN = {"commit_time", "read_time", "next_page_token", "skipped_results", "done"}


def _listed(message: Any) -> bool:
    return not isinstance(message, (str, bytes, int, float, bool)) and hasattr(message, "__len__")


numbers = st.one_of(
    st.sampled_from([0, 1, 2, -1, 3, 2**63 - 1, -(2**63), 2**53 + 1]),
    st.sampled_from([0.0, 1.0, -0.5, 2.5, math.nan, math.inf, -math.inf, 1e300, float(2**53)]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.sampled_from(["", "a", "b", "ab", "é", "\U0001f600", "￿"]),
    st.sampled_from([b"", b"a", b"\xff"]),
).map(value)
references = st.sampled_from(["c/a", "c/b", "e/a/s/y"]).map(
    lambda path: p.Value(reference_value=f"projects/{PROJECT}/databases/(default)/documents/{path}")
)
odd = st.one_of(
    st.sampled_from([timestamp(5), timestamp(5, 1000), timestamp(-5, 999_999_999)]),
    st.sampled_from([(0.0, 0.0), (1.0, -2.0), (1.0, 3.0)]).map(lambda pair: _point(*pair)),
    st.sampled_from([vector(1.0, 2.0), vector(3.0), vector(0.0, 5.0)]),
)


def _point(latitude: float, longitude: float) -> Any:
    point = p.Value()
    point.geo_point_value.latitude, point.geo_point_value.longitude = latitude, longitude
    point.geo_point_value.SetInParent()
    return point


flat = st.one_of(scalars, references)
leaves = st.one_of(scalars, scalars, odd, references)
values = st.one_of(
    leaves,
    leaves,
    st.lists(flat, max_size=3).map(value),
    st.dictionaries(
        st.sampled_from(["x", "y z", "k"]), st.one_of(leaves, st.lists(flat, max_size=2).map(value)), max_size=3
    ).map(value),
)
contents = st.dictionaries(st.sampled_from(["f", "g", "m", "q q"]), values, max_size=3)


@st.composite
def _masked(draw: st.DrawFn) -> tuple[dict[str, Any], list[str] | None]:
    mask = draw(st.one_of(st.none(), st.lists(st.sampled_from(FIELDS), max_size=3, unique=True)))
    if mask and "m" in mask:
        mask = [each for each in mask if not each.startswith("m.")]
    return draw(contents), mask


@st.composite
def transforms(draw: st.DrawFn) -> Any:
    made = p.FieldTransform(field_path=draw(st.sampled_from(FIELDS)))
    kind = draw(
        st.sampled_from(["increment", "maximum", "minimum", "append_missing_elements", "remove_all_from_array"])
    )
    if kind in {"increment", "maximum", "minimum"}:
        getattr(made, kind).CopyFrom(value(draw(numbers)))
    else:
        getattr(made, kind).SetInParent()
        getattr(made, kind).values.extend(draw(st.lists(flat, max_size=3)))
    return made


@st.composite
def writes(draw: st.DrawFn) -> Callable[[Run], Any]:
    path = draw(st.sampled_from(PATHS))
    fields, mask = draw(_masked())
    changes = draw(st.lists(transforms(), max_size=2))
    deletes = draw(st.integers(0, 3)) == 0
    condition = draw(st.sampled_from([None, None, None, True, False, "known", "stale"]))

    def make(run: Run) -> Any:
        write = run.firestore.delete(path) if deletes else run.firestore.update(path, fields, mask)
        if not deletes:
            write.update_transforms.extend(changes)
        if isinstance(condition, bool):
            write.current_document.exists = condition
        elif condition == "known" and path in run.known:
            write.current_document.update_time.CopyFrom(run.known[path])
        elif condition == "stale":
            write.current_document.update_time.seconds = 5
        return write

    return make


@st.composite
def commits(draw: st.DrawFn) -> Step:
    made = draw(st.lists(writes(), min_size=1, max_size=3))

    def step(run: Run) -> Any:
        prepared = [make(run) for make in made]
        answer = run.firestore.commit(*prepared)
        for write, result in zip(prepared, answer.write_results, strict=True):
            if result.HasField("update_time"):
                run.known[write.update.name.removeprefix(run.firestore.root + "/")] = result.update_time
        return answer

    return step


@st.composite
def batches(draw: st.DrawFn) -> Step:
    made = draw(st.lists(writes(), min_size=1, max_size=3))

    def step(run: Run) -> Any:
        request = p.BatchWriteRequest(database=run.firestore.database, writes=[make(run) for make in made])
        answer = run.firestore.call("BatchWrite", request)
        return [[each.code for each in answer.status], answer.write_results]

    return step


@st.composite
def gets(draw: st.DrawFn) -> Step:
    path, mask = draw(st.sampled_from(PATHS)), draw(st.one_of(st.none(), st.lists(st.sampled_from(FIELDS), max_size=2)))
    wanted = None if mask is None else p.DocumentMask(field_paths=mask)
    return lambda run: run.firestore.get(path, mask=wanted)


@st.composite
def lists(draw: st.DrawFn) -> Step:
    parent, collection = draw(st.sampled_from([("", "c"), ("c/a", "s"), ("", "e"), ("", "s")]))
    missing, size = draw(st.booleans()), draw(st.sampled_from([0, 1, 2]))

    def step(run: Run) -> Any:
        def page(token: str) -> Any:
            return run.firestore.call(
                "ListDocuments",
                p.ListDocumentsRequest(
                    parent=run.firestore.name(parent),
                    collection_id=collection,
                    show_missing=missing,
                    page_size=size,
                    page_token=token,
                ),
            )

        pages = [page("")]
        while pages[-1].next_page_token:
            pages.append(page(pages[-1].next_page_token))
        documents = [document for each in pages for document in each.documents]
        for document in documents:
            if not document.HasField("create_time"):
                document.ClearField("update_time")  # docs/emulator.md: missing documents have no times
        return documents

    return step


collection_ids = st.sampled_from(["", "c/a", "e/a", "c/b"]).map(
    lambda parent: (
        lambda run: run.firestore.call(
            "ListCollectionIds", p.ListCollectionIdsRequest(parent=run.firestore.name(parent))
        )
    )
)

Q = p.StructuredQuery
_FIELD = ["f", "f", "g", "m", "m.x", "`q q`"]
_OPS = [
    "EQUAL", "LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "NOT_EQUAL",
    "ARRAY_CONTAINS", "IN", "NOT_IN", "ARRAY_CONTAINS_ANY",
]  # fmt: skip
_UNARY = ["IS_NULL", "IS_NAN", "IS_NOT_NULL", "IS_NOT_NAN"]


@st.composite
def field_filters(draw: st.DrawFn) -> Any:
    made = Q().where
    if draw(st.integers(0, 5)) == 0:
        made.unary_filter.op = made.unary_filter.Operator.Value(draw(st.sampled_from(_UNARY)))
        made.unary_filter.field.field_path = draw(st.sampled_from(_FIELD))
        return made
    operator = draw(st.sampled_from(_OPS))
    made.field_filter.op = made.field_filter.Operator.Value(operator)
    if draw(st.integers(0, 7)) == 0 and "ARRAY" not in operator:
        made.field_filter.field.field_path = "__name__"
        given = draw(references)
        listed = operator in {"IN", "NOT_IN"}
        made.field_filter.value.CopyFrom(value([given]) if listed else given)
        return made
    made.field_filter.field.field_path = draw(st.sampled_from(_FIELD))
    if operator in {"IN", "NOT_IN", "ARRAY_CONTAINS_ANY"}:
        made.field_filter.value.CopyFrom(value(draw(st.lists(flat, min_size=1, max_size=3))))
    else:
        made.field_filter.value.CopyFrom(draw(leaves if operator == "ARRAY_CONTAINS" else values))
    return made


@st.composite
def filters(draw: st.DrawFn, depth: int = 0) -> Any:
    if depth > 1 or draw(st.integers(0, 1)) == 0:
        return draw(field_filters())
    made = Q().where
    made.composite_filter.op = draw(st.sampled_from([1, 1, 2]))
    made.composite_filter.filters.extend(draw(st.lists(filters(depth + 1), min_size=1, max_size=3)))
    return made


@st.composite
def queries(draw: st.DrawFn) -> Any:
    query = Q()
    query.from_.add(collection_id=draw(st.sampled_from(["c", "c", "s"])), all_descendants=draw(st.booleans()))
    if draw(st.booleans()):
        query.where.CopyFrom(draw(filters()))
    names = [*_FIELD[1:], "__name__"]
    for path in draw(st.lists(st.sampled_from(names), max_size=2, unique=True)):
        query.order_by.add(direction=draw(st.sampled_from([1, 2]))).field.field_path = path
    if draw(st.integers(0, 3)) == 0:
        query.limit.value = draw(st.integers(0, 3))
    if draw(st.integers(0, 3)) == 0:
        query.offset = draw(st.integers(0, 2))
    for cursor in ("start_at", "end_at"):
        if query.order_by and draw(st.integers(0, 3)) == 0:
            _cursor(draw, query, getattr(query, cursor))
    if draw(st.integers(0, 3)) == 0:
        for path in draw(st.lists(st.sampled_from([*_FIELD[1:], "__name__"]), max_size=2, unique=True)):
            query.select.fields.add(field_path=path)
    return query


def _cursor(draw: st.DrawFn, query: Any, cursor: Any) -> None:
    count = draw(st.integers(1, len(query.order_by)))
    for order in query.order_by[:count]:
        name = order.field.field_path == "__name__"
        cursor.values.add().CopyFrom(draw(references if name else leaves))
    cursor.before = draw(st.booleans())


def _asked(query: Any) -> Step:
    return lambda run: run.firestore.query(query)


@st.composite
def aggregations(draw: st.DrawFn) -> Step:
    asked = p.StructuredAggregationQuery(structured_query=draw(queries()))
    asked.structured_query.ClearField("select")
    for kind in draw(st.lists(st.sampled_from(["count", "sum", "avg"]), min_size=1, max_size=3)):
        added = asked.aggregations.add()
        if kind == "count":
            added.count.SetInParent()
        else:
            getattr(added, kind).field.field_path = draw(st.sampled_from(_FIELD))

    def step(run: Run) -> Any:
        request = p.RunAggregationQueryRequest(parent=run.firestore.root, structured_aggregation_query=asked)
        return [each.result for each in run.firestore.call("RunAggregationQuery", request)]

    return step


query_steps = queries().map(_asked)
programs = st.tuples(
    st.lists(commits(), min_size=1, max_size=4),
    st.lists(
        st.one_of(commits(), commits(), batches(), gets(), lists(), collection_ids, query_steps, aggregations()),
        max_size=6,
    ),
    st.lists(st.one_of(query_steps, query_steps, query_steps, aggregations()), max_size=5),
).map(lambda parts: [step for part in parts for step in part])
