from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from emulator.firestore import protocol as p
from emulator.firestore.server import FirestoreServer
from emulator.firestore.transactions import Concurrency
from tests.emulator.firestore.conftest import Serve
from tests.emulator.firestore.raw import RawFirestore, Refused, fields

Connect = Callable[[FirestoreServer], RawFirestore]
BOTH = pytest.mark.parametrize("concurrency", list(Concurrency))


def outcome(act: Callable[[], Any]) -> str:
    try:
        act()
    except Refused as refused:
        return refused.code
    return "OK"


def count_up(firestore: RawFirestore, path: str) -> int:
    """Read, add one and commit as the clients do it; return how often it took."""
    options, attempts = p.TransactionOptions(), 0
    while True:
        attempts += 1
        transaction = firestore.begin(options)
        options.read_write.retry_transaction = transaction
        try:
            now = firestore.get(path, transaction=transaction).fields["n"].integer_value
            firestore.commit(firestore.update(path, fields(n=now + 1)), transaction=transaction)
        except Refused as refused:
            assert refused.code == "ABORTED"  # noqa: PT017  # any other refusal must fail the test
        else:
            return attempts


@BOTH
def test_no_increment_is_lost_when_many_count_at_once(serve: Serve, connect: Connect, concurrency: Concurrency) -> None:
    firestore = connect(serve(concurrency=concurrency))
    firestore.commit(firestore.update("c/n", fields(n=0)))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _each: [count_up(firestore, "c/n") for _ in range(5)], range(16)))
    assert firestore.get("c/n").fields["n"].integer_value == 80


@BOTH
def test_of_two_that_read_the_same_one_is_aborted(serve: Serve, connect: Connect, concurrency: Concurrency) -> None:
    firestore = connect(serve(concurrency=concurrency))
    firestore.commit(firestore.update("c/a", fields(n=0)))
    first, second = firestore.begin(), firestore.begin()
    for each in (first, second):
        firestore.get("c/a", transaction=each)
    with ThreadPoolExecutor(2) as pool:
        write = firestore.update("c/a", fields(n=1))
        commits = [pool.submit(outcome, partial(firestore.commit, write, transaction=each)) for each in (first, second)]
        assert sorted(each.result() for each in commits) == ["ABORTED", "OK"]


def test_a_write_waits_for_a_transaction_that_has_read_and_then_gives_up(serve: Serve, connect: Connect) -> None:
    firestore = connect(serve(lock_wait_seconds=0.2))
    firestore.commit(firestore.update("c/a", fields(n=0)))
    transaction = firestore.begin()
    firestore.get("c/a", transaction=transaction)
    began = time.monotonic()
    assert outcome(lambda: firestore.commit(firestore.update("c/a", fields(n=9)))) == "ABORTED"
    assert 0.15 < time.monotonic() - began < 2.0
    firestore.commit(firestore.update("c/a", fields(n=1)), transaction=transaction)


def test_a_write_goes_on_as_soon_as_the_reader_rolls_back(serve: Serve, connect: Connect) -> None:
    firestore = connect(serve(lock_wait_seconds=5.0))
    transaction = firestore.begin()
    outcome(lambda: firestore.get("c/a", transaction=transaction))
    rollback = p.RollbackRequest(database=firestore.database, transaction=transaction)
    threading.Timer(0.1, lambda: firestore.call("Rollback", rollback)).start()
    began = time.monotonic()
    firestore.commit(firestore.update("c/a", fields(n=9)))
    assert time.monotonic() - began < 2.0


@BOTH
def test_a_document_that_would_join_a_query_conflicts_with_it(
    serve: Serve, connect: Connect, concurrency: Concurrency
) -> None:
    firestore = connect(serve(concurrency=concurrency, lock_wait_seconds=0.1))
    query = p.StructuredQuery()
    query.from_.add(collection_id="c")
    transaction = firestore.begin()
    assert firestore.query(query, transaction=transaction) == []
    phantom = outcome(lambda: firestore.commit(firestore.update("c/new", fields(n=1))))
    own = outcome(lambda: firestore.commit(firestore.update("c/sum", fields(n=0)), transaction=transaction))
    assert sorted([phantom, own]) == ["ABORTED", "OK"]


def test_an_idle_transaction_expires_and_frees_what_it_held(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    transaction = firestore.begin()
    outcome(lambda: firestore.get("c/a", transaction=transaction))
    server.clock.advance(61)
    assert outcome(lambda: firestore.commit(firestore.update("c/a"))) == "OK"
    assert outcome(lambda: firestore.commit(transaction=transaction)) == "INVALID_ARGUMENT"


def test_the_past_can_be_read_for_an_hour(serve: Serve, connect: Connect) -> None:
    server = serve()
    firestore = connect(server)
    then = firestore.commit(firestore.update("c/a", fields(n=1))).commit_time
    firestore.commit(firestore.update("c/a", fields(n=2)))
    server.clock.advance(3000)
    assert firestore.get("c/a", read_time=then).fields["n"].integer_value == 1
    server.clock.advance(700)
    assert outcome(lambda: firestore.get("c/a", read_time=then)) == "FAILED_PRECONDITION"


def test_a_first_read_may_begin_the_transaction(firestore: RawFirestore) -> None:
    request = p.BatchGetDocumentsRequest(
        database=firestore.database, documents=[firestore.name("c/a")], new_transaction=p.TransactionOptions()
    )
    began, missing = firestore.call("BatchGetDocuments", request)
    assert missing.missing == firestore.name("c/a")
    firestore.commit(firestore.update("c/a"), transaction=began.transaction)
