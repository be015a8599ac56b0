from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from emulator.firestore import protocol as p
from emulator.firestore.server import FirestoreServer
from tests.emulator.firestore.conftest import Serve
from tests.emulator.firestore.raw import RawFirestore, Refused, fields, value


def refusal(act: Callable[[], Any]) -> Refused:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value


def conditional(write: Any, **condition: Any) -> Any:
    write.current_document.CopyFrom(p.Write(current_document=condition).current_document)
    return write


def transformed(firestore: RawFirestore, **operation: Any) -> Any:
    """A commit that transforms the field ``f`` of ``c/a``; the field afterwards."""
    write = firestore.update("c/a", {}, [])
    write.update_transforms.add(field_path="f", **operation)
    firestore.commit(write)
    return firestore.get("c/a").fields["f"]


def test_preconditions_fail_with_the_official_codes(firestore: RawFirestore) -> None:
    missing = conditional(firestore.update("c/a"), exists=True)
    assert refusal(lambda: firestore.commit(missing)).code == "NOT_FOUND"
    old = conditional(firestore.update("c/a"), update_time=p.Timestamp(seconds=5))
    assert refusal(lambda: firestore.commit(old)).code == "FAILED_PRECONDITION"
    firestore.commit(firestore.update("c/a"))
    assert refusal(lambda: firestore.commit(old)).code == "FAILED_PRECONDITION"
    there = conditional(firestore.update("c/a"), exists=False)
    assert refusal(lambda: firestore.commit(there)).code == "ALREADY_EXISTS"


def test_a_refusal_names_the_document(firestore: RawFirestore) -> None:
    missing = conditional(firestore.update("c/a"), exists=True)
    expected = f"No document to update: {firestore.root}/c/a"
    assert refusal(lambda: firestore.commit(missing)).message == expected


def test_a_commit_that_fails_changes_nothing(firestore: RawFirestore) -> None:
    missing = conditional(firestore.update("c/b"), exists=True)
    refusal(lambda: firestore.commit(firestore.update("c/a"), missing))
    assert refusal(lambda: firestore.get("c/a")).code == "NOT_FOUND"


def test_a_write_that_changes_nothing_keeps_the_update_time(firestore: RawFirestore) -> None:
    first = firestore.commit(firestore.update("c/a", fields(n=1, s="x")))
    again = firestore.commit(firestore.update("c/a", fields(s="x", n=1)))
    assert again.write_results[0].update_time == first.write_results[0].update_time
    assert firestore.get("c/a").update_time == first.write_results[0].update_time


def test_commit_times_strictly_increase(firestore: RawFirestore) -> None:
    times = [firestore.commit(firestore.update("c/a", fields(n=each))).commit_time for each in range(20)]
    moments = [(each.seconds, each.nanos) for each in times]
    assert moments == sorted(set(moments))


def test_a_mask_changes_the_fields_it_names_and_no_others(firestore: RawFirestore) -> None:
    firestore.commit(firestore.update("c/a", fields(keep=1, drop=2, m={"x": 1, "y": 2})))
    firestore.commit(firestore.update("c/a", fields(m={"y": 3}, ignored=1), ["drop", "m.y", "m.z", "absent"]))
    assert dict(firestore.get("c/a").fields) == fields(keep=1, m={"x": 1, "y": 3})


@pytest.mark.parametrize(
    ("before", "by", "after"),
    [
        (1, 2, 3),
        (1, 0.5, 1.5),
        ("text", 2, 2),
        (2**63 - 1, 1, 2**63 - 1),
        (-(2**63), -1, -(2**63)),
        (1.0, 1, 2.0),
    ],
)
def test_increment_adds_saturates_and_replaces_what_is_no_number(
    firestore: RawFirestore, before: Any, by: Any, after: Any
) -> None:
    firestore.commit(firestore.update("c/a", fields(f=before)))
    assert transformed(firestore, increment=value(by)) == value(after)


@pytest.mark.parametrize(
    ("operation", "before", "given", "after"),
    [
        ("maximum", 1, 2, 2),
        ("maximum", 3, 2.0, 3),
        ("maximum", 2, 2.0, 2),
        ("minimum", 3, 2.0, 2.0),
        ("minimum", None, 5, 5),
    ],
)
def test_minimum_and_maximum_keep_the_stored_number_when_equal(
    firestore: RawFirestore, operation: str, before: Any, given: Any, after: Any
) -> None:
    firestore.commit(firestore.update("c/a", fields(f=before)))
    assert transformed(firestore, **{operation: value(given)}) == value(after)


def test_nan_wins_over_every_number(firestore: RawFirestore) -> None:
    firestore.commit(firestore.update("c/a", fields(f=1)))
    assert math.isnan(transformed(firestore, maximum=value(math.nan)).double_value)


def test_each_of_several_transforms_of_a_field_tells_its_own_result(firestore: RawFirestore) -> None:
    write = firestore.update("c/a", fields(f=1))
    write.update_transforms.add(field_path="f", maximum=value(0))
    write.update_transforms.add(field_path="f", increment=value(2))
    assert list(firestore.commit(write).write_results[0].transform_results) == [value(1), value(3)]


def test_array_union_and_removal_take_1_and_1_0_as_equal(firestore: RawFirestore) -> None:
    firestore.commit(firestore.update("c/a", fields(f=[1, "a"])))
    union = p.ArrayValue(values=[value(1.0), value("b"), value("b")])
    assert transformed(firestore, append_missing_elements=union) == value([1, "a", "b"])
    removal = p.ArrayValue(values=[value(1.0)])
    assert transformed(firestore, remove_all_from_array=removal) == value(["a", "b"])


def test_server_timestamps_have_milliseconds_and_are_told_to_the_client(firestore: RawFirestore) -> None:
    write = firestore.update("c/a", {}, [])
    write.update_transforms.add(field_path="t", set_to_server_value=1)
    result = firestore.commit(write).write_results[0]
    stored = firestore.get("c/a").fields["t"]
    assert stored == result.transform_results[0]
    assert stored.timestamp_value.nanos % 1_000_000 == 0


def test_each_server_timestamp_of_a_document_is_later_than_the_one_before(firestore: RawFirestore) -> None:
    write = firestore.update("c/a", {}, [])
    write.update_transforms.add(field_path="t", set_to_server_value=1)
    told = [firestore.commit(write).write_results[0].transform_results[0].timestamp_value for _ in range(100)]
    moments = [(each.seconds, each.nanos) for each in told]
    assert moments == sorted(set(moments))


def test_server_timestamps_of_a_document_differ_for_clients_at_the_same_time(firestore: RawFirestore) -> None:
    write = firestore.update("c/a", {}, [])
    write.update_transforms.add(field_path="t", set_to_server_value=1)

    def commit(_number: int) -> tuple[int, int]:
        told = firestore.commit(write).write_results[0].transform_results[0].timestamp_value
        return told.seconds, told.nanos

    with ThreadPoolExecutor(8) as clients:
        assert len(set(clients.map(commit, range(200)))) == 200


def test_a_clock_that_stands_still_keeps_no_server_timestamp_waiting(
    serve: Serve, connect: Callable[[FirestoreServer], RawFirestore]
) -> None:
    server = serve()
    firestore = connect(server)
    server.clock.stop(1000)
    write = firestore.update("c/a", {}, [])
    write.update_transforms.add(field_path="t", set_to_server_value=1)
    for _ in range(2):
        assert firestore.commit(write).write_results[0].transform_results[0].timestamp_value.seconds == 1000


def test_deleting_what_is_not_there_succeeds(firestore: RawFirestore) -> None:
    assert not firestore.commit(firestore.delete("c/a")).write_results[0].HasField("update_time")


def test_a_document_that_is_deleted_and_written_in_one_commit_is_a_new_one(firestore: RawFirestore) -> None:
    firestore.commit(firestore.update("c/a", fields(n=1)))
    created = firestore.get("c/a").create_time
    firestore.commit(firestore.delete("c/a"), firestore.update("c/a", fields(n=1)))
    assert firestore.get("c/a").create_time != created


def test_contradictory_writes_of_one_document_are_refused(firestore: RawFirestore) -> None:
    create = conditional(firestore.update("c/a"), exists=False)
    assert refusal(lambda: firestore.commit(create, create)).code == "INVALID_ARGUMENT"


def test_a_batch_write_gives_every_write_a_status_of_its_own(firestore: RawFirestore) -> None:
    firestore.commit(firestore.update("c/a"))
    create = conditional(firestore.update("c/a"), exists=False)
    request = p.BatchWriteRequest(database=firestore.database, writes=[create, firestore.update("c/b")])
    assert [each.code for each in firestore.call("BatchWrite", request).status] == [6, 0]
    twice = p.BatchWriteRequest(database=firestore.database, writes=[firestore.update("c/a")] * 2)
    assert refusal(lambda: firestore.call("BatchWrite", twice)).code == "INVALID_ARGUMENT"


def test_limits_of_a_document_and_a_request(firestore: RawFirestore) -> None:
    large = firestore.update("c/a", fields(a="x" * 600_000, b="x" * 600_000))
    assert "exceeds the maximum allowed size" in refusal(lambda: firestore.commit(large)).message
    writes = [firestore.update(f"c/{each}", fields(a="x" * 1_000_000)) for each in range(11)]
    assert refusal(lambda: firestore.commit(*writes)).code == "INVALID_ARGUMENT"
    many = firestore.update("c/a")
    for each in range(501):
        many.update_transforms.add(field_path=f"f{each}", increment=value(1))
    assert refusal(lambda: firestore.commit(many)).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "method", ["Commit", "GetDocument", "RunQuery", "BatchGetDocuments", "ListDocuments", "BatchWrite"]
)
@pytest.mark.parametrize("nonsense", [b"\xff\xff\xff", b"\x0a\x05ab", b"", b"\x08\x01"])
def test_malformed_requests_are_refused_and_crash_nothing(
    firestore: RawFirestore, method: str, nonsense: bytes
) -> None:
    assert refusal(lambda: firestore.call(method, nonsense)).code == "INVALID_ARGUMENT"


def test_the_web_clients_verify_checks_a_precondition_and_writes_nothing(firestore: RawFirestore) -> None:
    name = firestore.name("c/a").encode()
    verify = p.Write.FromString(b"\x2a" + bytes([len(name)]) + name)
    conditional(verify, exists=True)
    assert refusal(lambda: firestore.commit(verify)).code == "NOT_FOUND"
    firestore.commit(firestore.update("c/a"))
    before = firestore.get("c/a").update_time
    firestore.commit(verify)
    assert firestore.get("c/a").update_time == before


def test_a_write_stream_shakes_hands_and_then_commits(firestore: RawFirestore) -> None:
    stream = firestore.converse("Write")
    stream.send(p.WriteRequest(database=firestore.database))
    hello = stream.receive()
    assert hello.stream_id
    stream.send(p.WriteRequest(stream_token=hello.stream_token, writes=[firestore.update("c/a", fields(n=1))]))
    done = stream.receive()
    stream.close()
    assert done.stream_token != hello.stream_token
    assert firestore.get("c/a").update_time == done.write_results[0].update_time
