"""Who listens, over several instances."""

from __future__ import annotations

import threading

import pytest
from pytest_mock import MockerFixture

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.relay import parse_patterns
from agent_mesh.relay.beat import Beat, Beats
from agent_mesh.relay.presence import PresenceBoard, count_for
from tests.conftest import HandClock

A = parse_patterns(["t.a"])
BOTH = parse_patterns(["t.*", "t.a"])
QUICK = Beats(presence_changed_s=0.02, presence_alive_s=0.05, catch_up_s=0.05)


def board(database: FirestoreClient, clock: HandClock, instance: str) -> PresenceBoard:
    return PresenceBoard(database, clock, instance)


def test_a_stream_counts_once_whatever_its_patterns_have_in_common() -> None:
    assert count_for("t.a", {A: 2, BOTH: 3}) == 5
    assert count_for("t.b", {A: 2, BOTH: 3}) == 3
    assert count_for("x", {A: 2, BOTH: 3}) == 0


def test_each_instance_sees_what_the_others_wrote(database: FirestoreClient, clock: HandClock) -> None:
    one, other = board(database, clock, "one"), board(database, clock, "other")
    one.write({A: 2, BOTH: 1})
    assert (one.elsewhere("t.a"), other.elsewhere("t.a"), other.elsewhere("t.b")) == ([], [3], [1])
    one.write({})
    assert other.elsewhere("t.a") == []


def test_an_instance_that_is_silent_is_believed_for_three_minutes(database: FirestoreClient, clock: HandClock) -> None:
    board(database, clock, "one").write({A: 1})
    clock.advance(179)
    assert board(database, clock, "other").elsewhere("t.a") == [1]
    clock.advance(2)
    assert board(database, clock, "other").elsewhere("t.a") == []


def test_more_than_a_document_holds_is_left_out(database: FirestoreClient, clock: HandClock) -> None:
    many = {parse_patterns([f"{'x' * 100}.{number}.{other}" for other in range(16)]): 1 for number in range(400)}
    board(database, clock, "one").write({**many, A: 2})
    other = board(database, clock, "other")
    assert other.elsewhere("t.a") == [2]
    assert other.elsewhere(f"{'x' * 100}.0.0") == [1]


def test_a_beat_writes_changes_and_signs_of_life_and_nothing_without_streams(
    database: FirestoreClient, clock: HandClock, mocker: MockerFixture
) -> None:
    caught_up = threading.Semaphore(0)
    one, other = board(database, clock, "one"), board(database, clock, "other")
    writes = mocker.spy(one, "write")
    beat = Beat(one, caught_up.release, QUICK)
    beat.join(A)
    beat.join(A)
    for _ in range(3):  # each comes after a sign of life
        assert caught_up.acquire(timeout=10)
    assert other.elsewhere("t.a") == [2]
    assert beat.streams == {A: 2}
    beat.leave(A)
    beat.leave(A)
    assert other.elsewhere("t.a") == []
    assert beat.streams == {}
    assert writes.call_count >= 3


@pytest.mark.parametrize("failure", [Unavailable("gone"), ValueError("a defect")])
def test_a_beat_goes_on_when_the_database_is_away(
    database: FirestoreClient, clock: HandClock, mocker: MockerFixture, failure: Exception
) -> None:
    tried = threading.Semaphore(0)

    def fail() -> None:
        tried.release()
        raise failure

    one, other = board(database, clock, "one"), board(database, clock, "other")
    mocker.patch.object(one, "write", side_effect=failure)
    beat = Beat(one, fail, QUICK)
    beat.join(A)
    assert tried.acquire(timeout=10)
    mocker.stopall()
    assert tried.acquire(timeout=10)
    assert other.elsewhere("t.a") == [1]
    beat.leave(A)
