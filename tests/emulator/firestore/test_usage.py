"""What is billed as what, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from emulator.firestore import protocol as p
from emulator.firestore.control import RemoteControl
from emulator.firestore.server import FirestoreServer
from tests.emulator.firestore.conftest import Serve
from tests.emulator.firestore.raw import RawFirestore, Refused, fields, value, vector
from tests.emulator.firestore.test_reads import ordered, over, where

A, B = "a" * 32, "b" * 32
Connect = Callable[[FirestoreServer], RawFirestore]
Reads = Callable[[Any], int]


@pytest.fixture
def server(serve: Serve) -> FirestoreServer:
    """A server that has counted nothing."""
    return serve()


@pytest.fixture
def counted(server: FirestoreServer, connect: Connect) -> RawFirestore:
    """Its documents: a to e, whose ``n`` is 1 to 5 and ``m`` 5 to 1."""
    firestore = connect(server)
    firestore.commit(*[firestore.update(f"c/{name}", fields(n=n, m=6 - n)) for n, name in enumerate("abcde", 1)])
    return firestore


def totals(server: FirestoreServer, method: str = "") -> Any:
    usage: Any = server.usage()
    return usage["byMethod"].get(method, usage["totals"]) if method else usage["totals"]


def traced(firestore: RawFirestore, trace: str) -> RawFirestore:
    firestore.metadata = [("authorization", "Bearer owner"), ("traceparent", f"00-{trace}-{'1' * 16}-01")]
    return firestore


def line_of(server: FirestoreServer, trace: str) -> Any:
    usage: Any = server.usage(trace=trace)
    (line,) = usage["traces"]["shown"]
    return line


def with_offset(query: Any, offset: int, limit: int) -> Any:
    query.offset, query.limit.value = offset, limit
    return query


def nearest(limit: int) -> Any:
    query = over("v")
    query.find_nearest.vector_field.field_path = "v"
    query.find_nearest.query_vector.CopyFrom(vector(1.0, 1.0))
    query.find_nearest.distance_measure, query.find_nearest.limit.value = 1, limit
    return query


def both(path: str, least: int, other: str, most: int) -> Any:
    query = over()
    for field, operator, plain in ((path, "GREATER_THAN_OR_EQUAL", least), (other, "LESS_THAN_OR_EQUAL", most)):
        condition = query.where.composite_filter.filters.add().field_filter
        condition.field.field_path, condition.op = field, condition.Operator.Value(operator)
        condition.value.CopyFrom(value(plain))
    query.where.composite_filter.op = 1
    return query


QUERIES = {
    "all": (over(), 5),
    "nothing": (over("nothing"), 1),
    "an offset": (with_offset(over(), 3, 1), 4),
    "an offset past the end": (with_offset(over(), 9, 1), 5),
    "an offset of nothing": (with_offset(over("nothing"), 9, 1), 1),
    "one range": (where(over(), "n", "GREATER_THAN", 2), 3),
    "one range, ordered by it": (ordered(where(over(), "n", "GREATER_THAN", 2), "n"), 3),
    "two orders": (ordered(ordered(over(), "n"), "m"), 5),
    "two ranges": (both("n", 2, "m", 3), 3 + 1),
    "two ranges that find nothing": (both("n", 2, "m", 0), 1),
    "a range and another order": (ordered(ordered(where(over(), "n", "GREATER_THAN", 2), "n"), "m"), 3 + 1),
    "an order and the name": (ordered(ordered(over(), "n"), "__name__"), 5 + 1),
}


@pytest.mark.parametrize(("query", "reads"), QUERIES.values(), ids=QUERIES.keys())
def test_a_query_is_billed_by_its_answer(
    counted: RawFirestore, server: FirestoreServer, query: Any, reads: int
) -> None:
    counted.query(query)
    assert totals(server, "RunQuery")["reads"] == reads


def test_a_vector_search_pays_for_the_entries_of_its_index(counted: RawFirestore, server: FirestoreServer) -> None:
    counted.commit(*[counted.update(f"v/{each}", {"v": vector(each, 1.0)}) for each in range(101)])
    counted.commit(counted.update("v/without", fields(v=1)))
    assert len(counted.query(nearest(3))) == 3
    assert totals(server, "RunQuery")["reads"] == 3 + 2


@pytest.mark.parametrize(("documents", "up_to", "reads"), [(0, 0, 1), (1000, 0, 1), (1001, 0, 2), (1001, 10, 1)])
def test_an_aggregation_pays_for_index_entries(
    counted: RawFirestore, server: FirestoreServer, documents: int, up_to: int, reads: int
) -> None:
    for start in range(0, documents, 500):
        counted.commit(*[counted.update(f"many/{each}") for each in range(start, min(start + 500, documents))])
    request = p.RunAggregationQueryRequest(parent=counted.root)
    asked = request.structured_aggregation_query
    asked.structured_query.CopyFrom(over("many"))
    count = asked.aggregations.add().count
    count.SetInParent()
    if up_to:
        count.up_to.value = up_to
    counted.call("RunAggregationQuery", request)
    assert totals(server, "RunAggregationQuery")["reads"] == reads


@pytest.mark.parametrize("analyze", [False, True])
def test_explaining_costs_one_read_and_analyzing_what_the_query_costs(
    counted: RawFirestore, server: FirestoreServer, analyze: bool
) -> None:
    request = p.RunQueryRequest(parent=counted.root, structured_query=both("n", 2, "m", 3))
    request.explain_options.analyze = analyze
    metrics = counted.call("RunQuery", request)[-1].explain_metrics
    assert totals(server, "RunQuery")["reads"] == (4 if analyze else 1)
    if analyze:
        assert metrics.execution_stats.read_operations == 4
        billed = metrics.execution_stats.debug_stats["billing_details"]
        assert (billed["documents_billable"], billed["index_entries_billable"]) == ("3", "3")


def test_looking_up_what_is_missing_is_a_read(counted: RawFirestore, server: FirestoreServer) -> None:
    with pytest.raises(Refused):
        counted.get("c/missing")
    names = [counted.name("c/a"), counted.name("c/missing")]
    counted.call("BatchGetDocuments", p.BatchGetDocumentsRequest(database=counted.database, documents=names))
    assert (totals(server, "GetDocument")["reads"], totals(server, "BatchGetDocuments")["reads"]) == (1, 2)


def test_lists_of_ids_and_partitions_are_one_read_a_request(counted: RawFirestore, server: FirestoreServer) -> None:
    for _ in range(2):
        counted.call("ListCollectionIds", p.ListCollectionIdsRequest(parent=counted.root))
    query = ordered(over(everywhere=True), "__name__")
    request = p.PartitionQueryRequest(parent=counted.root, structured_query=query, partition_count=3)
    counted.call("PartitionQuery", request)
    assert (totals(server, "ListCollectionIds")["reads"], totals(server, "PartitionQuery")["reads"]) == (2, 1)


def test_writes_deletes_and_refused_writes_are_told_apart(counted: RawFirestore, server: FirestoreServer) -> None:
    before = totals(server)
    counted.commit(counted.update("c/a", fields(n=1)), counted.delete("c/b"), counted.delete("c/missing"))
    refused = counted.update("c/a")
    refused.current_document.exists = False
    with pytest.raises(Refused, match="ALREADY_EXISTS"):
        counted.commit(refused, counted.update("c/c"))
    with pytest.raises(Refused, match="INVALID_ARGUMENT"):
        counted.commit(counted.update("c/a"), transaction=b"none")
    after = totals(server)
    kinds = ("writes", "deletes", "refusedWrites")
    assert [after[kind] - before[kind] for kind in kinds] == [1, 2, 2]
    assert after["costMicroUsd"] == f"{(5 + 1 + 2) * 0.9 + 2 * 0.1:.6f}"


def test_reads_of_a_transaction_are_reads(counted: RawFirestore, server: FirestoreServer) -> None:
    transaction = counted.begin()
    counted.get("c/a", transaction=transaction)
    counted.commit(transaction=transaction)
    assert totals(server)["reads"] == 1
    assert totals(server, "Commit")["writes"] == 5


@pytest.fixture
def listening(counted: RawFirestore) -> Iterator[Callable[[Any], int]]:
    """Send a request on a stream of trace A; gives a function that waits for a snapshot."""
    stream = traced(counted, A).converse("Listen")

    def listen(request: Any = None) -> int:
        if request is not None:
            stream.send(request)
        answers = 0
        while True:
            change = stream.receive().target_change
            if change.target_change_type == 0 and change.HasField("read_time") and not change.target_ids:
                return answers
            answers += 1

    yield listen
    stream.close()


def test_a_listener_pays_for_what_was_added_changed_or_left_but_not_for_what_was_deleted(
    counted: RawFirestore, server: FirestoreServer, listening: Callable[..., int]
) -> None:
    target = p.ListenRequest(database=counted.database, add_target={"target_id": 1})
    target.add_target.query.parent = counted.root
    target.add_target.query.structured_query.CopyFrom(where(over(), "n", "GREATER_THAN", 2))
    listening(target)
    reads = [line_of(server, A)["reads"]]
    traced(counted, B)
    for write in (counted.update("c/f", fields(n=9)), counted.update("c/f", fields(n=0)), counted.delete("c/e")):
        counted.commit(write)
        listening()
        reads.append(line_of(server, A)["reads"])
    assert reads == [3, 4, 5, 5]
    assert (line_of(server, B)["writes"], line_of(server, B)["deletes"], line_of(server, B)["reads"]) == (2, 1, 0)


def test_listening_to_a_missing_document_is_a_read(
    counted: RawFirestore, server: FirestoreServer, listening: Callable[..., int]
) -> None:
    target = p.ListenRequest(database=counted.database, add_target={"target_id": 1})
    target.add_target.documents.documents.extend([counted.name("c/a"), counted.name("c/missing")])
    listening(target)
    assert line_of(server, A)["reads"] == 2


def test_a_write_stream_is_billed_to_its_own_trace(counted: RawFirestore, server: FirestoreServer) -> None:
    stream = traced(counted, A).converse("Write")
    stream.send(p.WriteRequest(database=counted.database))
    token = stream.receive().stream_token
    stream.send(p.WriteRequest(stream_token=token, writes=[counted.update("c/x"), counted.delete("c/a")]))
    stream.receive()
    stream.close()
    line = line_of(server, A)
    assert line["byMethod"]["Write"] | {"lastUsed": ""} == {
        "requests": 1,
        "reads": 0,
        "writes": 1,
        "deletes": 1,
        "refusedWrites": 0,
        "costMicroUsd": "1.000000",
        "lastUsed": "",
    }


def test_lines_of_all_traces_add_up_to_the_totals(counted: RawFirestore, server: FirestoreServer) -> None:
    for trace in (A, B, A):
        traced(counted, trace).query(over())
        counted.get("c/a")
    counted.metadata = [("x-request-id", "mine")]
    counted.query(over())
    usage: Any = server.usage()
    lines = [*usage["traces"]["shown"], usage["traces"]["untraced"], usage["traces"]["older"]]
    assert [line["trace"] for line in usage["traces"]["shown"]] == ["mine", A, B]
    for kind in ("requests", "reads", "writes", "deletes"):
        assert sum(line[kind] for line in lines) == usage["totals"][kind]
    assert [line["reads"] for line in usage["traces"]["shown"]] == [5, 12, 6]


def test_calls_that_run_at_once_and_wait_for_each_other_are_not_mixed_up(
    server: FirestoreServer, connect: Connect
) -> None:
    traces = [f"{number:032x}" for number in range(1, 9)]

    def work(trace: str) -> None:
        firestore = traced(connect(server), trace)
        for _ in range(int(trace, 16)):
            transaction = firestore.begin()
            with suppress(Refused):
                firestore.get("c/contended", transaction=transaction)
                firestore.commit(firestore.update("c/contended"), transaction=transaction)
            firestore.query(over("nothing"))

    with ThreadPoolExecutor(len(traces)) as threads:
        list(threads.map(work, traces))
    for trace in traces:
        methods, rounds = line_of(server, trace)["byMethod"], int(trace, 16)
        assert (methods["BeginTransaction"]["requests"], methods["RunQuery"]["reads"]) == (rounds, rounds)
        commits = methods.get("Commit", {"requests": 0, "writes": 0, "refusedWrites": 0})
        assert commits["writes"] + commits["refusedWrites"] == commits["requests"]
    usage: Any = server.usage()
    assert usage["traces"]["untraced"]["requests"] == 0


def test_the_answer_can_be_cut_and_priced_elsewhere(counted: RawFirestore, server: FirestoreServer) -> None:
    for trace in (A, B):
        traced(counted, trace).get("c/a")
    with_control: Any = RemoteControl(server.address)
    usage = with_control.usage(limit=1, location="nam5")
    with_control.close()
    assert (usage["traces"]["kept"], [line["trace"] for line in usage["traces"]["shown"]]) == (2, [B])
    assert usage["traces"]["shown"][0]["costMicroUsd"] == "0.600000"


@pytest.mark.parametrize("question", [{"limit": -1}, {"limit": "x"}, {"location": "mars"}, {"traces": "a"}])
def test_a_wrong_question_is_refused(server: FirestoreServer, question: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="|".join(map(str, question.values())) + "|traces"):
        server.usage(**question)
