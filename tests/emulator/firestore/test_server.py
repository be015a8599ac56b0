"""The server's own face: processes, control, faults, usage, TTL and storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from emulator.firestore.clock import Clock
from emulator.firestore.control import RemoteControl
from emulator.firestore.documents import Documents
from emulator.firestore.faults import Fault
from emulator.firestore.protocol import Document
from emulator.firestore.server import FirestoreServer
from emulator.firestore.storage import Storage
from emulator.firestore.writes import stored
from tests.emulator.firestore.conftest import Serve
from tests.emulator.firestore.raw import RawFirestore, Refused, fields, timestamp, value
from tests.emulator.firestore.test_listen import to_query, told
from tests.emulator.firestore.test_reads import over, where

ROOT = Path(__file__).parents[3]
Connect = Callable[[FirestoreServer], RawFirestore]


def code(act: Callable[[], Any]) -> str:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.code


def test_a_fault_happens_as_often_as_it_was_asked_for(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    firestore.commit(firestore.update("c/a"))
    server.inject(Fault(method="GetDocument", code="UNAVAILABLE", count=2, skip=1))
    firestore.get("c/a")
    assert [code(lambda: firestore.get("c/a")) for _ in range(2)] == ["UNAVAILABLE"] * 2
    firestore.get("c/a")


def test_a_fault_after_the_act_loses_only_the_answer(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    server.inject(Fault(method="Commit", code="DEADLINE_EXCEEDED", after=True))
    assert code(lambda: firestore.commit(firestore.update("c/a"))) == "DEADLINE_EXCEEDED"
    assert firestore.get("c/a").name


def test_a_fault_can_be_mere_lateness(serve: Serve, connect: Connect) -> None:
    server = serve()
    server.inject(Fault(delay=0.2))
    began = time.monotonic()
    assert connect(server).query(over()) == []
    assert time.monotonic() - began >= 0.2


def test_a_status_that_does_not_exist_is_refused_where_it_is_made_up() -> None:
    with pytest.raises(ValueError, match="SLEEPY"):
        Fault(code="SLEEPY")


def test_what_is_billed_is_counted_by_method(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    firestore.commit(firestore.update("c/a"), firestore.update("c/b"))
    firestore.commit(firestore.delete("c/b"))
    firestore.query(over())
    firestore.query(over("nothing"))
    usage = server.usage()
    totals, methods = cast("dict[str, int]", usage["totals"]), cast("dict[str, dict[str, int]]", usage["byMethod"])
    assert (totals["reads"], totals["writes"], totals["deletes"]) == (2, 2, 1)
    assert (methods["RunQuery"]["requests"], methods["RunQuery"]["reads"]) == (2, 2)


def test_a_document_written_too_often_is_reported(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    for each in range(30):
        server.clock.advance(0.5)
        firestore.commit(firestore.update("c/hot", fields(n=each)), firestore.update(f"c/cold{each}"))
    hot = server.usage()["writtenOverOncePerSecond"]
    assert list(hot) == [firestore.name("c/hot")]


def test_expired_documents_are_deleted(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    declared = tmp_path / "firestore.indexes.json"
    policy = {"collectionGroup": "c", "fieldPath": "expireAt", "ttl": True, "indexes": []}
    declared.write_text(json.dumps({"fieldOverrides": [policy]}))
    server = serve(indexes=declared, ttl_seconds=0.05)
    firestore = connect(server)
    later = int(time.time()) + 1000
    firestore.commit(
        firestore.update("c/past", {"expireAt": timestamp(5)}),
        firestore.update("c/later", {"expireAt": timestamp(later)}),
        firestore.update("c/never", fields(expireAt="text")),
    )
    time.sleep(0.3)
    assert [each.name[-5:] for each in firestore.query(over())] == ["later", "never"]
    server.clock.advance(2000)
    server.sweep()
    assert [each.name[-5:] for each in firestore.query(over())] == ["never"]


def test_each_sweep_follows_what_was_written_since_the_last(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    declared = tmp_path / "firestore.indexes.json"
    policy = {"collectionGroup": "c", "fieldPath": "at.end", "ttl": True, "indexes": []}
    declared.write_text(json.dumps({"fieldOverrides": [policy]}))
    server = serve(indexes=declared, ttl_seconds=1000)
    firestore = connect(server)
    past, future = ({"at": value({"end": timestamp(when)})} for when in (5, 4_000_000_000))
    firestore.commit(firestore.update("c/a", future), firestore.update("x/1/c/b", past), firestore.update("c/c", past))
    firestore.commit(firestore.delete("c/c"))
    assert server.sweep() == 1
    firestore.commit(firestore.update("c/a", past), firestore.update("x/2/c/b", past), firestore.update("c/n"))
    assert server.sweep() == 2
    assert server.sweep() == 0
    assert [each.name for each in firestore.query(over())] == [firestore.name("c/n")]
    kept = server.snapshot()
    firestore.commit(firestore.update("c/n", past))
    server.restore(kept)
    assert server.sweep() == 0


def test_queries_without_their_index_are_refused_until_that_is_switched_off(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    declared = tmp_path / "firestore.indexes.json"
    declared.write_text('{"fieldOverrides": [{"collectionGroup": "c", "fieldPath": "a", "indexes": []}]}')
    server = serve(indexes=declared)
    firestore = connect(server)
    query = where(over(), "a", "EQUAL", 1)
    assert code(lambda: firestore.query(query)) == "FAILED_PRECONDITION"
    server.require_indexes(wanted=False)
    assert firestore.query(query) == []


def test_a_snapshot_can_be_restored_and_all_be_reset(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    firestore.commit(firestore.update("c/a", fields(n=1)))
    before, snapshot = firestore.get("c/a"), server.snapshot()
    firestore.commit(firestore.update("c/a", fields(n=2)), firestore.update("c/b"))
    server.restore(snapshot)
    assert firestore.query(over()) == [before]
    server.reset()
    assert firestore.query(over()) == []


def test_documents_outlive_the_server_in_one_file(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "firestore.sqlite"
    first = serve(storage=file)
    firestore = connect(first)
    firestore.commit(firestore.update("c/a", fields(n=1)), firestore.update("c/b"))
    firestore.commit(firestore.delete("c/b"))
    kept = firestore.query(over())
    first.stop()
    assert connect(serve(storage=file)).query(over()) == kept


def test_what_a_full_disk_refused_is_written_with_the_next_commit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(tmp_path / "firestore.sqlite")
    documents = Documents(Clock())
    documents.observers.append(storage.observe)
    database = documents.database("projects/p/databases/(default)")

    def commit(path: str, size: int) -> None:
        time = documents.commit_time()
        body = Document(name=f"{database.name}/documents/{path}", fields=fields(text="x" * size)).SerializeToString()
        documents.commit(database, time, {path: stored(path, body, time, time)})

    commit("c/a", 1)
    storage._connection.execute("PRAGMA max_page_count = 10")
    commit("c/b", 100_000)
    commit("c/c", 1)
    assert capsys.readouterr().err.count('"storage.not_written"') == 2
    assert [Document.FromString(each).name[-3:] for each in storage.load()] == ["c/a"]
    storage._connection.execute("PRAGMA max_page_count = 1000")
    commit("c/d", 1)
    assert [Document.FromString(each).name[-3:] for each in storage.load()] == ["c/a", "c/b", "c/c", "c/d"]
    storage.close()


def test_stopping_twice_does_nothing(serve: Serve) -> None:
    server = serve()
    server.stop()
    server.stop()


def test_a_taken_port_is_reported_to_whoever_starts(serve: Serve) -> None:
    port = int(serve().address.rpartition(":")[2])
    with pytest.raises(RuntimeError, match=str(port)):
        serve(port=port)


@contextmanager
def process() -> Iterator[str]:
    """A server as a process of its own; gives its address, and ends it without a word."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "emulator.firestore", "--port", "0"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, cwd=ROOT, **pipes) as running:
        assert running.stdout
        assert running.stderr
        yield running.stdout.readline().strip().removeprefix("FIRESTORE_EMULATOR_HOST=")
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
        assert running.stderr.read() == ""


@pytest.fixture
def address() -> Iterator[str]:
    with process() as address:
        yield address


def test_a_process_can_be_used_controlled_and_stopped(address: str) -> None:
    firestore, control = RawFirestore(address, "test"), RemoteControl(address)
    firestore.commit(firestore.update("c/a", fields(n=1)))
    snapshot = control.snapshot()
    control.reset()
    assert firestore.query(over()) == []
    control.restore(snapshot)
    assert len(firestore.query(over())) == 1
    control.inject(Fault(method="RunQuery", code="ABORTED"))
    assert code(lambda: firestore.query(over())) == "ABORTED"
    now = control.act("clock.now")
    control.act("clock.advance", seconds=100)
    assert control.act("clock.now") - now > 99_000_000
    assert control.usage(trace="none")["traces"]["shown"] == []
    control.close()
    firestore.close()


def test_an_open_stream_ends_with_the_process_and_leaves_no_stack_trace() -> None:
    with process() as address:
        firestore = RawFirestore(address, "test")
        stream = firestore.converse("Listen")
        stream.send(to_query(firestore))
        told(stream)
    assert code(stream.receive) == "UNAVAILABLE"
    firestore.close()
