from __future__ import annotations

import math
from typing import Any

import pytest

from emulator.firestore import protocol as p
from tests.emulator.firestore.raw import RawFirestore, Refused, fields, value, vector

Q = p.StructuredQuery


def over(collection: str = "c", *, everywhere: bool = False) -> Any:
    query = Q()
    query.from_.add(collection_id=collection, all_descendants=everywhere)
    return query


def where(query: Any, path: str, operator: str, plain: Any) -> Any:
    condition = query.where.field_filter
    condition.field.field_path, condition.op = path, condition.Operator.Value(operator)
    condition.value.CopyFrom(value(plain))
    return query


def ordered(query: Any, path: str, direction: int = 1) -> Any:
    query.order_by.add(direction=direction).field.field_path = path
    return query


def ids(found: list[Any]) -> str:
    return "".join(each.name[-1] for each in found)


@pytest.fixture
def numbered(firestore: RawFirestore) -> RawFirestore:
    """A collection of a to e, whose ``n`` is 1 to 4 and missing."""
    firestore.commit(
        *[firestore.update(f"c/{name}", fields(n=n, tags=[n, "all"])) for n, name in enumerate("abcd", 1)],
        firestore.update("c/e", fields(other=True)),
        firestore.update("c/a/c/z", fields(n=9)),
    )
    return firestore


def test_order_by_leaves_out_documents_without_the_field(numbered: RawFirestore) -> None:
    assert ids(numbered.query(ordered(over(), "n", 2))) == "dcba"


def test_ranges_contains_and_in(numbered: RawFirestore) -> None:
    assert ids(numbered.query(where(over(), "n", "GREATER_THAN", 2))) == "cd"
    assert ids(numbered.query(where(over(), "tags", "ARRAY_CONTAINS", 3))) == "c"
    assert ids(numbered.query(where(over(), "n", "IN", [4, 1]))) == "ad"
    assert ids(numbered.query(where(over(), "n", "NOT_IN", [4, 1]))) == "bc"


def test_cursors_offset_and_limit(numbered: RawFirestore) -> None:
    query = ordered(over(), "n")
    query.start_at.values.append(value(2))
    assert ids(numbered.query(query)) == "cd"
    query.start_at.before = True
    query.limit.value, query.offset = 1, 1
    assert ids(numbered.query(query)) == "c"


def test_a_collection_group_is_found_at_every_depth(numbered: RawFirestore) -> None:
    assert ids(numbered.query(over(everywhere=True))) == "azbcde"
    assert ids(numbered.query(over(everywhere=True), parent="c/a")) == "z"


def test_a_query_without_a_collection_sees_all(numbered: RawFirestore) -> None:
    assert ids(numbered.query(over("", everywhere=True))) == "azbcde"


def test_projection_returns_the_fields_it_names(numbered: RawFirestore) -> None:
    query = over()
    query.select.fields.add(field_path="n")
    query.limit.value = 1
    assert dict(numbered.query(query)[0].fields) == fields(n=1)
    query.select.fields[0].field_path = "__name__"
    assert dict(numbered.query(query)[0].fields) == {}


def aggregated(firestore: RawFirestore, query: Any, **kinds: str) -> dict[str, Any]:
    asked = p.StructuredAggregationQuery(structured_query=query)
    for alias, field in kinds.items():
        added = asked.aggregations.add(alias=alias)
        kind = getattr(added, alias)
        kind.SetInParent()
        if field:
            kind.field.field_path = field
    request = p.RunAggregationQueryRequest(parent=firestore.root, structured_aggregation_query=asked)
    (answer,) = firestore.call("RunAggregationQuery", request)
    return dict(answer.result.aggregate_fields)


def test_aggregations(numbered: RawFirestore) -> None:
    assert aggregated(numbered, over(), count="") == {"count": value(5)}
    assert aggregated(numbered, over(), sum="n", avg="n") == {"sum": value(10), "avg": value(2.5)}
    assert aggregated(numbered, over("nothing"), sum="n", avg="n") == {"sum": value(0), "avg": value(None)}


def test_partitions_cut_a_group_into_parts_that_make_up_the_whole(numbered: RawFirestore) -> None:
    query = ordered(over(everywhere=True), "__name__")
    request = p.PartitionQueryRequest(parent=numbered.root, structured_query=query, partition_count=2)
    cuts = numbered.call("PartitionQuery", request).partitions
    assert len(cuts) == 2
    parts = []
    for start, end in zip([None, *cuts], [*cuts, None], strict=True):
        part = ordered(over(everywhere=True), "__name__")
        if start:
            part.start_at.CopyFrom(start)
        if end:
            part.end_at.CopyFrom(end)
        parts.append(ids(numbered.query(part)))
    assert "".join(parts) == "azbcde"
    assert all(parts)


@pytest.mark.parametrize(("measure", "expected"), [(1, "ab"), (2, "ab"), (3, "cb")])
def test_nearest_neighbours_by_every_measure(firestore: RawFirestore, measure: int, expected: str) -> None:
    vectors = {"a": (1.0, 1.0), "b": (2.0, 1.0), "c": (0.0, 9.0), "d": (1.0, 1.0, 1.0)}
    firestore.commit(*[firestore.update(f"c/{name}", {"v": vector(*numbers)}) for name, numbers in vectors.items()])
    query = over()
    query.find_nearest.vector_field.field_path = "v"
    query.find_nearest.query_vector.CopyFrom(vector(1.0, 1.0))
    query.find_nearest.distance_measure, query.find_nearest.limit.value = measure, 2
    query.find_nearest.distance_result_field = "distance"
    found = firestore.query(query)
    assert ids(found) == expected
    assert found[0].fields["distance"].double_value == {1: 0.0, 2: pytest.approx(0.0), 3: 9.0}[measure]


def nearest_by_angle(result_field: str) -> Any:
    query = over()
    query.find_nearest.vector_field.field_path = "v"
    query.find_nearest.query_vector.CopyFrom(vector(1.0, 0.0))
    query.find_nearest.distance_measure, query.find_nearest.limit.value = 2, 9
    query.find_nearest.distance_result_field = result_field
    return query


def test_a_vector_without_a_direction_is_the_farthest_by_angle(firestore: RawFirestore) -> None:
    vectors = {"a": (0.0, 0.0), "b": (-1.0, 0.0), "c": (1.0, 0.0)}
    firestore.commit(*[firestore.update(f"c/{name}", {"v": vector(*numbers)}) for name, numbers in vectors.items()])
    found = firestore.query(nearest_by_angle("distance"))
    assert ids(found) == "cba"
    assert math.isnan(found[-1].fields["distance"].double_value)


def test_a_distance_is_not_put_into_a_reserved_field(firestore: RawFirestore) -> None:
    with pytest.raises(Refused, match=r"INVALID_ARGUMENT.*__x__"):
        firestore.query(nearest_by_angle("__x__"))


def test_explain_tells_the_index_and_what_was_read(numbered: RawFirestore) -> None:
    request = p.RunQueryRequest(parent=numbered.root, structured_query=where(over(), "n", "EQUAL", 1))
    request.explain_options.analyze = True
    metrics = numbered.call("RunQuery", request)[-1].explain_metrics
    assert metrics.execution_stats.results_returned == 1
    assert metrics.plan_summary.indexes_used[0]["properties"] == "(n ASC, __name__ ASC)"


def test_lists_show_missing_documents_and_come_in_pages(firestore: RawFirestore) -> None:
    firestore.commit(firestore.update("c/a"), firestore.update("c/m/s/x"))
    request = p.ListDocumentsRequest(parent=firestore.root, collection_id="c", page_size=1, show_missing=True)
    first = firestore.call("ListDocuments", request)
    request.page_token = first.next_page_token
    second = firestore.call("ListDocuments", request)
    assert [ids(each.documents) for each in (first, second)] == ["a", "m"]
    assert not second.documents[0].HasField("create_time")
    request.page_token = "made up"
    with pytest.raises(Refused, match="invalid page token"):
        firestore.call("ListDocuments", request)


def test_collection_ids_count_collections_below_missing_documents(firestore: RawFirestore) -> None:
    firestore.commit(firestore.update("c/m/s/x"), firestore.update("d/a"))
    request = p.ListCollectionIdsRequest(parent=firestore.root)
    assert list(firestore.call("ListCollectionIds", request).collection_ids) == ["c", "d"]


def test_documents_are_created_updated_and_deleted_one_by_one(firestore: RawFirestore) -> None:
    request = p.CreateDocumentRequest(parent=firestore.root, collection_id="c", document=p.Document(fields=fields(n=1)))
    made = firestore.call("CreateDocument", request)
    assert len(made.name.rpartition("/")[2]) == 20
    changed = firestore.call("UpdateDocument", p.UpdateDocumentRequest(document=made))
    assert changed.update_time == made.update_time
    firestore.call("DeleteDocument", p.DeleteDocumentRequest(name=made.name))
    assert firestore.query(over()) == []
