"""Threads that append to one topic share commits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from google.cloud.firestore_v1.batch import WriteBatch
from pytest_mock import MockerFixture

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.relay import Appends, Draft, History


@pytest.fixture
def appends(history: History) -> Appends:
    return Appends(history)


def test_every_thread_gets_its_own_message_of_one_chain(appends: Appends, history: History) -> None:
    with ThreadPoolExecutor(16) as pool:
        published = list(pool.map(lambda number: appends.append("t", Draft(str(number))), range(48)))
    assert [each.message.payload for each in published if each.message] == [str(number) for number in range(48)]
    stored = history.latest("t").messages
    assert {each.message_id for each in stored} == {each.message_id for each in published}
    assert all(one.number == other.previous for one, other in pairwise(stored))


def test_appends_that_come_during_a_commit_share_the_next(
    appends: Appends, history: History, mocker: MockerFixture
) -> None:
    history.append("t", [Draft("0")])
    commits = mocker.spy(WriteBatch, "commit")
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda number: appends.append("t", Draft(str(number))), range(32)))
    assert 1 <= commits.call_count < 32


def test_a_key_that_two_threads_send_is_published_once(appends: Appends, history: History) -> None:
    with ThreadPoolExecutor(8) as pool:
        published = list(pool.map(lambda _: appends.append("t", Draft("{}", "k")), range(8)))
    assert len({each.message_id for each in published}) == 1
    assert [each.message for each in published if each.message] == list(history.latest("t").messages)


def test_a_failure_is_told_to_all_and_the_next_append_is_none_the_worse(
    appends: Appends, history: History, mocker: MockerFixture
) -> None:
    mocker.patch.object(history, "append", side_effect=Unavailable("gone"))
    for _ in range(2):
        with pytest.raises(Unavailable, match="gone"):
            appends.append("t", Draft("{}"))
    mocker.stopall()
    assert appends.append("t", Draft("{}")).message
