from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.firestore import protocol as p
from emulator.firestore.server import FirestoreServer
from tests.emulator.firestore.conftest import Serve
from tests.emulator.firestore.raw import Conversation, RawFirestore, fields, value

Opened = Callable[[], Conversation]
Connect = Callable[[FirestoreServer], RawFirestore]


@pytest.fixture
def open_stream(firestore: RawFirestore) -> Iterator[Opened]:
    streams: list[Conversation] = []

    def opened() -> Conversation:
        streams.append(firestore.converse("Listen"))
        return streams[-1]

    yield opened
    for each in streams:
        each.close()


def to_query(firestore: RawFirestore, limit: int = 0, **changes: Any) -> Any:
    """A request to listen to ``n >= 0`` in ``c``."""
    target = p.ListenRequest(database=firestore.database, add_target={"target_id": 1} | changes)
    query = target.add_target.query.structured_query
    target.add_target.query.parent = firestore.root
    query.from_.add(collection_id="c")
    query.where.field_filter.field.field_path, query.where.field_filter.op = "n", 4
    query.where.field_filter.value.CopyFrom(value(0))
    if limit:
        query.limit.value = limit
    return target


def told(stream: Conversation) -> tuple[list[str], Any]:
    """What is told until the next snapshot, and the snapshot."""
    lines: list[str] = []
    while True:
        answer = stream.receive()
        which = answer.WhichOneof("response_type")
        if which == "target_change":
            change = answer.target_change
            kind = change.TargetChangeType.Name(change.target_change_type)
            if kind == "NO_CHANGE":
                return lines, change
            lines.append(kind)
        elif which == "document_change":
            lines.append("+" + answer.document_change.document.name[-1])
        else:
            lines.append({"document_delete": "-", "document_remove": "~"}[which] + getattr(answer, which).document[-1])


def test_documents_join_change_and_leave(firestore: RawFirestore, open_stream: Opened) -> None:
    stream = open_stream()
    stream.send(to_query(firestore))
    assert told(stream)[0] == ["ADD", "CURRENT"]
    for write, expected in (
        (firestore.update("c/a", fields(n=1)), ["+a"]),
        (firestore.update("c/a", fields(n=2)), ["+a"]),
        (firestore.update("c/a", fields(n=-1)), ["~a"]),
        (firestore.update("c/a", fields(n=1)), ["+a"]),
        (firestore.delete("c/a"), ["-a"]),
    ):
        firestore.commit(write)
        assert told(stream)[0] == expected


def test_a_limit_lets_documents_fall_out(firestore: RawFirestore, open_stream: Opened) -> None:
    firestore.commit(firestore.update("c/b", fields(n=5)))
    stream = open_stream()
    stream.send(to_query(firestore, limit=1))
    told(stream)
    firestore.commit(firestore.update("c/a", fields(n=1)))
    assert told(stream)[0] == ["~b", "+a"]


def test_a_resumed_listener_is_told_what_it_missed(firestore: RawFirestore, open_stream: Opened) -> None:
    firestore.commit(firestore.update("c/a", fields(n=1)), firestore.update("c/b", fields(n=1)))
    stream = open_stream()
    stream.send(to_query(firestore))
    token = told(stream)[1].resume_token
    stream.close()
    firestore.commit(firestore.delete("c/a"), firestore.update("c/c", fields(n=1)))
    again = open_stream()
    again.send(to_query(firestore, resume_token=token))
    assert told(again)[0] == ["ADD", "-a", "+c", "CURRENT"]


def test_a_token_that_cannot_be_resumed_is_answered_with_a_reset(firestore: RawFirestore, open_stream: Opened) -> None:
    firestore.commit(firestore.update("c/a", fields(n=1)))
    stream = open_stream()
    stream.send(to_query(firestore, resume_token=b"made up"))
    assert told(stream)[0] == ["ADD", "RESET", "+a", "CURRENT"]


def test_a_target_that_is_wanted_once_is_removed(firestore: RawFirestore, open_stream: Opened) -> None:
    stream = open_stream()
    stream.send(to_query(firestore, once=True))
    told(stream)
    assert stream.receive().target_change.target_change_type == p.TargetChange.REMOVE


def test_a_target_that_is_removed_is_told_no_more(firestore: RawFirestore, open_stream: Opened) -> None:
    stream = open_stream()
    stream.send(to_query(firestore))
    told(stream)
    stream.send(p.ListenRequest(database=firestore.database, remove_target=1))
    assert stream.receive().target_change.target_change_type == p.TargetChange.REMOVE
    firestore.commit(firestore.update("c/a", fields(n=1)))
    stream.send(to_query(firestore, target_id=2))
    assert told(stream)[0] == ["ADD", "+a", "CURRENT"]


def test_a_wrong_target_is_removed_with_its_cause(firestore: RawFirestore, open_stream: Opened) -> None:
    stream = open_stream()
    stream.send(p.ListenRequest(database=firestore.database, add_target={"target_id": 3}))
    change = stream.receive().target_change
    assert (change.target_change_type, change.cause.code) == (p.TargetChange.REMOVE, 3)


def test_a_client_that_goes_away_leaves_nothing_behind(serve: Serve) -> None:
    server: FirestoreServer = serve()
    client = RawFirestore(server.address, "test")
    idle = len(server._engine.documents.observers)
    streams = [client.converse("Listen") for _ in range(5)]
    for each in streams:
        each.send(to_query(client))
        told(each)
    assert len(server._engine.documents.observers) == idle + 5
    for each in streams:
        each.close()
    client.close()
    deadline = time.monotonic() + 5
    while len(server._engine.documents.observers) > idle and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(server._engine.documents.observers) == idle


@pytest.mark.parametrize("how", ["resume_token", "read_time"])
@pytest.mark.parametrize("stored", [False, True])
def test_what_a_listener_knows_of_an_earlier_life_is_reset(
    serve: Serve, connect: Connect, tmp_path: Path, how: str, *, stored: bool
) -> None:
    storage = tmp_path / "kept.sqlite" if stored else None
    earlier = serve(storage=storage)
    firestore = connect(earlier)
    firestore.commit(firestore.update("c/a", fields(n=1)))
    stream = firestore.converse("Listen")
    stream.send(to_query(firestore))
    current = told(stream)[1]
    stream.close()
    earlier.stop()
    again = connect(serve(storage=storage)).converse("Listen")
    again.send(to_query(firestore, **{how: getattr(current, how)}))
    assert told(again)[0] == ["ADD", "RESET", *(["+a"] if stored else []), "CURRENT"]


def test_only_the_first_request_of_a_stream_must_name_the_database(
    firestore: RawFirestore, open_stream: Opened
) -> None:
    stream = open_stream()
    stream.send(to_query(firestore))
    told(stream)
    second = to_query(firestore, target_id=2)
    second.ClearField("database")
    stream.send(second)
    assert told(stream)[0] == ["ADD", "CURRENT"]


def test_a_document_of_another_database_cannot_be_listened_to(firestore: RawFirestore, open_stream: Opened) -> None:
    stream = open_stream()
    strange = firestore.name("c/a").replace("(default)", "other")
    target = {"target_id": 1, "documents": {"documents": [strange]}}
    stream.send(p.ListenRequest(database=firestore.database, add_target=target))
    change = stream.receive().target_change
    assert (change.target_change_type, change.cause.code) == (p.TargetChange.REMOVE, 3)
    assert strange in change.cause.message


def test_a_silent_listener_that_pings_is_not_hung_up_on(shared_server: FirestoreServer) -> None:
    pinging = [("grpc.keepalive_time_ms", 1000), ("grpc.http2.max_pings_without_data", 0)]
    client = RawFirestore(shared_server.address, "test", pinging)
    stream = client.converse("Listen")
    stream.send(to_query(client))
    told(stream)
    time.sleep(3.5)  # the fourth ping is the first that may be one too many
    stream.send(to_query(client, target_id=2))
    assert told(stream)[0] == ["ADD", "CURRENT"]
    stream.close()
    client.close()


def test_listeners_are_told_of_a_reset_and_of_what_is_restored(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    firestore.commit(firestore.update("c/a", fields(n=1)), firestore.update("c/b", fields(n=1)))
    kept = server.snapshot()
    firestore.commit(firestore.update("c/c", fields(n=1)), firestore.update("c/a", fields(n=2)))
    query, documents = firestore.converse("Listen"), firestore.converse("Listen")
    query.send(to_query(firestore))
    named = {"target_id": 1, "documents": {"documents": [firestore.name("c/a")]}}
    documents.send(p.ListenRequest(database=firestore.database, add_target=named))
    assert [told(query)[0], told(documents)[0]] == [["ADD", "+b", "+c", "+a", "CURRENT"], ["ADD", "+a", "CURRENT"]]
    server.reset()
    assert [sorted(told(query)[0]), told(documents)[0]] == [["-a", "-b", "-c"], ["-a"]]
    server.restore(kept)
    assert [sorted(told(query)[0]), told(documents)[0]] == [["+a", "+b"], ["+a"]]
    firestore.commit(firestore.update("c/c", fields(n=1)))
    assert told(query)[0] == ["+c"]
    query.close()
    documents.close()
