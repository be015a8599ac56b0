"""What Firestore refuses before it looks at any document."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import grpc
import pytest
from google.protobuf import text_format

from emulator.firestore import protocol as p
from emulator.firestore.faults import Fault
from emulator.firestore.server import FirestoreServer
from tests.emulator.firestore.conftest import Serve
from tests.emulator.firestore.raw import Conversation, RawFirestore, Refused, fields, value
from tests.emulator.firestore.test_reads import ids, over, where

Connect = Callable[[FirestoreServer], RawFirestore]
FIELD = "field { field_path: 'a' }"
ONE = "value { integer_value: 1 }"
NEAR = """find_nearest { vector_field { field_path: 'v' } distance_measure: EUCLIDEAN limit { value: 1 } query_vector {
    map_value { fields { key: '__type__' value { string_value: '__vector__' } }
                fields { key: 'value' value { array_value { values { double_value: 1 } } } } } } }"""
ELEVEN = f"value {{ array_value {{ {'values { integer_value: 1 }' * 11} }} }}"


def refusal(act: Callable[[], Any]) -> Refused:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value


def last_of_two(stream: Conversation) -> Any:
    stream.receive()
    return stream.receive()


@pytest.mark.parametrize(
    "text",
    [
        "from_ {} from_ {}",
        "from_ { collection_id: '__x__' }",
        "from_ { collection_id: 'a/b' }",
        "offset: -1",
        "limit { value: -1 }",
        "order_by { field { field_path: 'a' } } order_by { field { field_path: 'a' } }",
        "order_by { field { field_path: '__name__' } } order_by { field { field_path: 'a' } }",
        "order_by { field { field_path: 'a' } direction: 7 }",
        "order_by { field { field_path: 'a..b' } }",
        "start_at { values { integer_value: 1 } }",
        "start_at { values { string_value: 'a' } values { string_value: 'a' } }",
        "where { field_filter { } }",
        f"where {{ field_filter {{ {FIELD} {ONE} }} }}",
        f"where {{ field_filter {{ {FIELD} op: IN {ONE} }} }}",
        f"where {{ field_filter {{ {FIELD} op: IN value {{ array_value {{}} }} }} }}",
        f"where {{ field_filter {{ {FIELD} op: NOT_IN {ELEVEN} }} }}",
        f"where {{ field_filter {{ {FIELD} op: EQUAL }} }}",
        f"where {{ field_filter {{ field {{ field_path: '__name__' }} op: EQUAL {ONE} }} }}",
        "where { field_filter { field { field_path: '__name__' } op: ARRAY_CONTAINS value { string_value: '' } } }",
        f"where {{ unary_filter {{ {FIELD} }} }}",
        "where { unary_filter { field { field_path: '__name__' } op: IS_NULL } }",
        "where { composite_filter { op: AND } }",
        f"where {{ composite_filter {{ filters {{ unary_filter {{ {FIELD} op: IS_NULL }} }} }} }}",
        "where { composite_filter { op: AND filters { } } }",
        "find_nearest { vector_field { field_path: 'v' } query_vector { integer_value: 1 } }",
        f"{NEAR} limit {{ value: 1 }}",
        f"{NEAR} offset: 1",
        f"where {{ field_filter {{ {FIELD} op: GREATER_THAN {ONE} }} }} start_at {{ values {{ integer_value: 1 }} }}",
    ],
    ids=count(),
)
def test_a_query_that_is_wrong_in_itself(firestore: RawFirestore, text: str) -> None:
    query = text_format.Parse(text, p.StructuredQuery())
    if not query.from_:
        query.from_.add(collection_id="c")
    assert refusal(lambda: firestore.query(query)).code == "INVALID_ARGUMENT"


def test_more_than_thirty_disjunctions(firestore: RawFirestore) -> None:
    query = over()
    query.where.composite_filter.op = 1
    for name in "ab":
        query.where.composite_filter.filters.append(where(over(), name, "IN", list(range(6))).where)
    assert "disjunctions" in refusal(lambda: firestore.query(query)).message


def test_keys_cannot_be_scanned_backwards(firestore: RawFirestore) -> None:
    query = over()
    query.order_by.add(direction=2).field.field_path = "__name__"
    assert refusal(lambda: firestore.query(query)).code == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "aggregations { }",
        "aggregations { count { up_to { value: 0 } } }",
        "aggregations { alias: 'a' count { } } aggregations { alias: 'a' count { } }",
        "aggregations { sum { field { field_path: '' } } }",
        "aggregations { sum { field { field_path: '__name__' } } }",
        "aggregations { alias: '__a__' count { } }",
        "aggregations { count { } }" * 6,
    ],
    ids=count(),
)
def test_an_aggregation_that_is_wrong_in_itself(firestore: RawFirestore, text: str) -> None:
    asked = text_format.Parse(text, p.StructuredAggregationQuery())
    asked.structured_query.CopyFrom(over())
    request = p.RunAggregationQueryRequest(parent=firestore.root, structured_aggregation_query=asked)
    assert refusal(lambda: firestore.call("RunAggregationQuery", request)).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("PartitionQuery", "structured_query { from_ { collection_id: 'c' } } partition_count: 2"),
        ("PartitionQuery", "structured_query { from_ { collection_id: 'c' all_descendants: true } }"),
        ("ListDocuments", "collection_id: 'c' page_size: -1"),
        ("ListDocuments", "collection_id: 'c' order_by: 'n'"),
        ("ListDocuments", "collection_id: 'c' order_by: '__name__' show_missing: true"),
        ("ListCollectionIds", "page_token: 'x'"),
        ("CreateDocument", "collection_id: 'c' document { name: 'x' }"),
        ("CreateDocument", "document_id: 'x'"),
    ],
)
def test_other_methods_refuse_what_is_wrong_in_itself(firestore: RawFirestore, method: str, text: str) -> None:
    request = text_format.Parse(text, getattr(p, f"{method}Request")(parent=firestore.root))
    assert refusal(lambda: firestore.call(method, request)).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("database", ["", "x", "projects", "projects//databases/d", "projects/p/databases/d/more"])
def test_a_database_that_has_no_such_name(firestore: RawFirestore, database: str) -> None:
    for method in ("Commit", "BeginTransaction", "BatchWrite", "BatchGetDocuments"):
        request = getattr(p, f"{method}Request")(database=database)
        assert refusal(partial(firestore.call, method, request)).code == "INVALID_ARGUMENT"


def test_a_write_stream_that_breaks_the_protocol(firestore: RawFirestore) -> None:
    for requests in (
        [p.WriteRequest(database=firestore.database, writes=[firestore.update("c/a")])],
        [p.WriteRequest(database=firestore.database), p.WriteRequest(database="projects/p/databases/other")],
    ):
        stream = firestore.converse("Write")
        for each in requests:
            stream.send(each)
        assert refusal(partial(last_of_two, stream)).code == "INVALID_ARGUMENT"
        stream.close()


def test_a_stream_can_be_given_a_fault(serve: Serve, connect: Connect) -> None:
    server = serve()
    server.inject(Fault(method="Listen", code="UNAVAILABLE"))
    stream = connect(server).converse("Listen")
    with pytest.raises(Refused, match="UNAVAILABLE"):
        stream.receive()
    stream.close()


def test_old_versions_are_forgotten_when_they_take_too_much_room(serve: Serve, connect: Connect) -> None:
    server = serve(history_bytes=2_000)
    firestore = connect(server)
    times = [firestore.commit(firestore.update("c/a", fields(s="x" * 100, n=n))).commit_time for n in range(50)]
    assert refusal(lambda: firestore.get("c/a", read_time=times[0])).code == "FAILED_PRECONDITION"
    assert firestore.get("c/a", read_time=times[-2]).fields["n"] == value(48)


def test_deleted_documents_leave_nothing_behind_in_the_end(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    firestore.commit(*[firestore.update(f"c/{n}") for n in range(10)])
    firestore.commit(*[firestore.delete(f"c/{n}") for n in range(10)])
    server.clock.advance(4000)
    firestore.commit(firestore.update("c/a"))
    collection = server._engine.documents.database(firestore.database).collections["c"]
    assert list(collection.versions) == ["a"]
    assert ids(firestore.query(over())) == "a"


def test_the_clock_can_stand_still_and_commits_still_come_later(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    server.clock.stop(2_000_000_000)
    first, second = (firestore.commit(firestore.update("c/a", fields(n=n))).commit_time for n in range(2))
    assert (first.seconds, second.seconds) == (2_000_000_000, 2_000_000_000)
    assert second.nanos - first.nanos == 1_000
    server.clock.run()


def test_pipelines_are_named_in_their_refusal(firestore: RawFirestore) -> None:
    call: Any = firestore.channel.unary_stream("/google.firestore.v1.Firestore/ExecutePipeline")
    with pytest.raises(grpc.RpcError, match="This emulator has no pipelines") as caught:
        next(call(b"", timeout=20.0))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
