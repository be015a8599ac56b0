"""Transactions and listeners that behave the same on the embedded and on the official emulator."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulator.firestore import protocol as p
from tests.emulator.firestore.raw import RawFirestore, Refused, fields

pytestmark = pytest.mark.official


@pytest.fixture(params=["embedded", "official"])
def either(request: pytest.FixtureRequest) -> Iterator[RawFirestore]:
    """An empty database on the one, then on the other."""
    if request.param == "embedded":
        yield request.getfixturevalue("firestore")
        return
    client = RawFirestore(request.getfixturevalue("official_cloud").firestore, f"test-{secrets.token_hex(4)}")
    yield client
    client.close()


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.code


def test_a_transaction_sees_what_was_there_and_commits_once(either: RawFirestore) -> None:
    either.commit(either.update("c/a", fields(n=1)))
    transaction = either.begin()
    assert either.get("c/a", transaction=transaction).fields["n"].integer_value == 1
    either.commit(either.update("c/a", fields(n=2)), transaction=transaction)
    assert either.get("c/a").fields["n"].integer_value == 2
    assert refusal(lambda: either.commit(either.delete("c/a"), transaction=transaction)) == "INVALID_ARGUMENT"


def test_a_failed_precondition_ends_the_transaction(either: RawFirestore) -> None:
    transaction = either.begin()
    write = either.update("c/a", fields(n=2))
    write.current_document.exists = True
    assert refusal(lambda: either.commit(write, transaction=transaction)) == "NOT_FOUND"
    assert refusal(lambda: either.commit(transaction=transaction)) == "INVALID_ARGUMENT"


def test_a_read_only_transaction_reads_the_past_and_refuses_writes(either: RawFirestore) -> None:
    either.commit(either.update("c/a", fields(n=1)))
    options = p.TransactionOptions()
    options.read_only.SetInParent()
    transaction = either.begin(options)
    assert either.get("c/a", transaction=transaction).fields["n"].integer_value == 1
    either.commit(either.update("c/a", fields(n=2)))
    assert either.get("c/a", transaction=transaction).fields["n"].integer_value == 1
    assert refusal(lambda: either.commit(either.delete("c/a"), transaction=transaction)) == "INVALID_ARGUMENT"


def test_rollback_can_be_repeated_but_not_made_up(either: RawFirestore) -> None:
    transaction = either.begin()
    for _ in range(2):
        either.call("Rollback", p.RollbackRequest(database=either.database, transaction=transaction))
    unknown = p.RollbackRequest(database=either.database, transaction=b"made up")
    assert refusal(lambda: either.call("Rollback", unknown)) == "INVALID_ARGUMENT"


def test_a_document_can_be_read_at_the_time_of_an_earlier_commit(either: RawFirestore) -> None:
    first = either.commit(either.update("c/a", fields(n=1))).commit_time
    second = either.commit(either.update("c/a", fields(n=2))).commit_time
    either.commit(either.delete("c/a"))
    assert either.get("c/a", read_time=first).fields["n"].integer_value == 1
    assert either.get("c/a", read_time=second).fields["n"].integer_value == 2
    assert refusal(lambda: either.get("c/a")) == "NOT_FOUND"


def listened(either: RawFirestore, add: Any) -> list[str]:
    """What a listener is told until its target is current, with the names of documents."""
    stream = either.converse("Listen")
    stream.send(p.ListenRequest(database=either.database, add_target=add))
    told: list[str] = []
    while not told or told[-1] not in {"NO_CHANGE", "REMOVE"}:
        told.append(what_is_told(stream.receive()).replace(either.root, ""))
    stream.close()
    return told


def what_is_told(answer: Any) -> str:
    which = answer.WhichOneof("response_type")
    if which == "target_change":
        return str(answer.target_change.TargetChangeType.Name(answer.target_change.target_change_type))
    if which == "document_change":
        return str(answer.document_change.document.name)
    return "gone " + str(getattr(answer, which).document)


def test_a_listener_to_a_query_is_told_all_and_then_that_it_is_current(either: RawFirestore) -> None:
    either.commit(either.update("c/a", fields(n=1)), either.update("c/b", fields(n=2)))
    target: Any = p.ListenRequest().add_target
    target.target_id = 7
    target.query.parent = either.root
    target.query.structured_query.from_.add(collection_id="c")
    assert listened(either, target) == ["ADD", "/c/a", "/c/b", "CURRENT", "NO_CHANGE"]


def test_a_listener_to_a_missing_document_is_told_that_it_is_deleted(either: RawFirestore) -> None:
    target: Any = p.ListenRequest().add_target
    target.target_id = 7
    target.documents.documents.append(either.name("c/missing"))
    assert listened(either, target) == ["ADD", "gone /c/missing", "CURRENT", "NO_CHANGE"]
