"""What is stored of a topic, in which order, and what was missed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
from google.api_core.exceptions import AlreadyExists, ServiceUnavailable
from google.cloud.firestore_v1.batch import WriteBatch
from pytest_mock import MockerFixture

from agent_mesh.contracts.problems import InvalidRequest, Unavailable
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.relay import Draft, GapReason, History, TopicPattern
from agent_mesh.relay.messages import id_of, number_at
from tests.conftest import HandClock
from tests.unit.relay.conftest import Append

DAY = timedelta(days=1).total_seconds()


def test_the_newest_fifty_messages_are_replayed_in_their_order(history: History, append: Append) -> None:
    messages = append("t", 60)
    replay = history.latest("t")
    assert list(replay.messages) == messages[-50:]
    assert (replay.position, replay.gap) == (messages[-1].number, None)
    assert [later.previous for later in messages] == [0, *(each.number for each in messages[:-1])]
    assert history.latest("other").messages == ()


@pytest.mark.parametrize("missed", [0, 1, 50])
def test_exactly_what_came_after_a_position_is_read(history: History, append: Append, missed: int) -> None:
    messages = append("t", 55)
    replay = history.since("t", messages[-missed - 1].number)
    assert list(replay.messages) == messages[len(messages) - missed :]
    assert replay.gap is None


def test_more_than_fifty_missed_messages_are_a_gap(history: History, append: Append) -> None:
    messages = append("t", 55)
    replay = history.since("t", messages[3].number)
    assert (list(replay.messages), replay.gap) == (messages[-50:], GapReason.TOO_OLD)


def test_a_position_that_the_topic_never_had_is_unknown(history: History, append: Append, clock: HandClock) -> None:
    (message,) = append("t")
    replay = history.since("t", number_at(clock.now() + 3600))
    assert (replay.messages, replay.gap) == ((message,), GapReason.UNKNOWN)


def test_messages_are_forgotten_after_their_time_and_that_is_a_gap(
    history: History, append: Append, clock: HandClock
) -> None:
    (old,) = append("t")
    clock.advance(DAY + 1)
    assert history.latest("t").messages == ()
    replay = history.since("t", old.number)
    assert (replay.messages, replay.gap) == ((), GapReason.TOO_OLD)
    (new,) = append("t")
    assert new.previous == old.number
    assert history.since("t", replay.position).messages == (new,)
    assert history.since("t", replay.position).gap is None


def test_numbers_grow_on_after_everything_was_deleted(
    history: History, append: Append, clock: HandClock, database: FirestoreClient
) -> None:
    (old,) = append("t")
    clock.advance(2 * DAY)
    for document in database.collection("relay_messages").stream():
        document.reference.delete()
    (new,) = append("t")
    assert (new.previous, new.number > old.number) == (0, True)
    assert history.since("t", old.number).gap is GapReason.TOO_OLD


def test_a_key_is_published_once(history: History, clock: HandClock) -> None:
    first, second = history.append("t", [Draft("{}", "k"), Draft("{}", "k")])
    assert first.message
    assert (second.message, second.message_id) == (None, first.message_id)
    clock.advance(3600)
    history.append("t", [Draft("{}")] * 60)
    again, other = history.append("t", [Draft("{}", "k"), Draft("{}", "l")])
    assert (again.message, again.message_id) == (None, first.message_id)
    assert other.message
    assert history.append("u", [Draft("{}", "k")])[0].message


def test_publishers_of_several_instances_make_one_chain(database: FirestoreClient, clock: HandClock) -> None:
    instances = [History(database, clock) for _ in range(4)]

    def publish(number: int) -> None:
        for _ in range(5):
            instances[number].append("t", [Draft("{}", f"k{number}"), Draft(f'{{"by":{number}}}')])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(4)))
    messages = instances[0].latest("t").messages
    assert len(messages) == 4 * 5 + 4
    assert all(one.number == other.previous for one, other in pairwise(messages))


def test_a_stale_instance_goes_on_behind_the_others(database: FirestoreClient, clock: HandClock) -> None:
    one, other = History(database, clock), History(database, clock)
    (first,) = one.append("t", [Draft("{}")])
    (second,) = other.append("t", [Draft("{}")])
    (third,) = one.append("t", [Draft("{}")])
    assert [each.message_id for each in (first, second, third)] == [
        each.message_id for each in one.latest("t").messages
    ]


def test_a_commit_whose_answer_was_lost_is_not_made_twice(history: History, mocker: MockerFixture) -> None:
    commit = WriteBatch.commit

    def lost(self: WriteBatch) -> None:
        commit(self)
        raise AlreadyExists("the client sent it again")  # type: ignore[no-untyped-call]

    mocker.patch.object(WriteBatch, "commit", lost)
    (published,) = history.append("t", [Draft("{}")])
    mocker.stopall()
    assert [each.message_id for each in history.latest("t").messages] == [published.message_id]


def test_an_outage_is_told_and_a_key_makes_the_repeat_safe(history: History, mocker: MockerFixture) -> None:
    commit = WriteBatch.commit

    def cut(self: WriteBatch) -> None:
        commit(self)
        raise ServiceUnavailable("gone")  # type: ignore[no-untyped-call]

    mocker.patch.object(WriteBatch, "commit", cut)
    with pytest.raises(Unavailable):
        history.append("t", [Draft("{}", "k")])
    mocker.stopall()
    (again,) = history.append("t", [Draft("{}", "k")])
    assert [each.message_id for each in history.latest("t").messages] == [again.message_id]


def test_large_messages_go_in_several_commits(history: History, mocker: MockerFixture) -> None:
    commits = mocker.spy(WriteBatch, "commit")
    text = '"' + "x" * 200_000 + '"'
    published = history.append("t", [Draft(text)] * 45)
    assert [each.message_id for each in history.latest("t").messages] == [each.message_id for each in published]
    assert commits.call_count == 3


def test_a_topic_is_listed_once_for_many_messages(history: History, append: Append, mocker: MockerFixture) -> None:
    listed = mocker.spy(WriteBatch, "set")
    append("t")
    append("t")
    assert listed.call_count == 1


def test_a_pattern_finds_the_topics_that_have_messages(history: History, append: Append, clock: HandClock) -> None:
    for topic in ("a.b", "a.c", "a.b.c", "b"):
        append(topic)
    assert history.topics(TopicPattern("a.*")) == ["a.b", "a.c"]
    assert history.topics(TopicPattern("**")) == ["a.b", "a.b.c", "a.c", "b"]
    assert history.topics(TopicPattern("none")) == ["none"]
    clock.advance(1.5 * DAY)
    append("a.c")
    clock.advance(0.9 * DAY)
    assert history.topics(TopicPattern("a.**")) == ["a.c"]


def test_a_pattern_of_too_many_topics_is_refused(history: History, append: Append) -> None:
    for number in range(101):
        append(f"many.t{number}")
    with pytest.raises(InvalidRequest, match="more than 100"):
        history.topics(TopicPattern("many.*"))


def test_messages_are_kept_for_an_hour_at_least(database: FirestoreClient, clock: HandClock) -> None:
    with pytest.raises(ValueError, match="at least 1:00:00"):
        History(database, clock, timedelta(minutes=59))


def test_documents_are_as_many_as_the_docstring_says(
    history: History, append: Append, database: FirestoreClient
) -> None:
    append("t", 3)
    append("t", 3)
    history.append("t", [Draft("{}", "k")])
    counts = {name: len(list(database.collection(name).stream())) for name in ("relay_messages", "relay_keys")}
    assert counts == {"relay_messages": 7, "relay_keys": 1}
    assert id_of(0) == "0" * 16
