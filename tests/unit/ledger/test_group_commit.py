"""All who append at the same time share a commit, in one of their threads; nothing is left behind by any of them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from google.api_core import exceptions as google_errors
from google.cloud import firestore

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.ledger import AuditEntry, LocalSigner, group_commit
from agent_mesh.ledger.group_commit import GroupCommit
from agent_mesh.ledger.sequencer import Candidate, Committed, Sequencer, candidate
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.platform.firestore import FirestoreClient
from tests.unit.ledger.small_log import ORIGIN

SIGNER = LocalSigner(ORIGIN, bytes(32))
INTERVAL_S = 0.2


def entry(name: str, size: int = 1) -> Candidate:
    return candidate(
        AuditEntry(id=name, tx_id="tx", event="e", actor="a", ts="2026-11-20T14:00:00Z", payload={"text": "x" * size})
    )


class Group:
    """A group commit on a real Firestore, and the commits that it told of."""

    def __init__(self, database: FirestoreClient, interval_s: float = INTERVAL_S) -> None:
        self.store = LedgerStore(database)
        self.told: list[Committed] = []
        self.threads: set[str] = set()
        self._sequencer = Sequencer(self.store, SIGNER)
        self._open = threading.Event()
        self._open.set()
        self._group = GroupCommit(self._gate, interval_s, self._tell)

    def append(self, *names: str) -> Committed:
        return self._group.append([entry(name) for name in names])

    def append_all(self, candidates: Sequence[Candidate]) -> Committed:
        return self._group.append(candidates)

    def side_by_side(self, calls: Sequence[Callable[[], object]]) -> list[object]:
        """Let all of them wait at the same time, behind a commit of one entry, which is held meanwhile."""
        self._open.clear()
        with ThreadPoolExecutor(1 + len(calls)) as pool:
            held = pool.submit(self.append, "held")
            while not self._group._led or self._group._waiting:
                time.sleep(0.001)
            waiting = [pool.submit(outcome, call) for call in calls]
            while len(self._group._waiting) + sum(each.done() for each in waiting) < len(calls):
                time.sleep(0.001)
            self._open.set()
            held.result()
            return [each.result() for each in waiting]

    def _gate(self) -> Sequencer:
        self._open.wait()
        return self._sequencer

    def _tell(self, committed: Committed) -> None:
        self.threads.add(threading.current_thread().name)
        self.told.append(committed)


@pytest.fixture
def group(database: FirestoreClient) -> Group:
    return Group(database)


def outcome(call: Callable[[], object]) -> object:
    """Return what a call answers, or the error that it fails with."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # it is the outcome
        return error


def test_a_lone_entry_does_not_wait(database: FirestoreClient) -> None:
    began = time.monotonic()
    assert Group(database, interval_s=60.0).append("a").places == {"a": 0}
    assert time.monotonic() - began < 30


def test_those_who_wait_at_the_same_time_share_a_commit(group: Group) -> None:
    outcomes = group.side_by_side([partial(group.append, f"e-{n}") for n in range(20)])
    assert [len(each.added) for each in group.told] == [1, 20]
    places = [each.places[f"e-{n}"] for n, each in enumerate(outcomes) if isinstance(each, Committed)]
    assert sorted(places) == list(range(1, 21))


def test_commits_begin_an_interval_apart(group: Group) -> None:
    began = time.monotonic()
    for number in range(4):
        group.append(f"e-{number}")
    assert time.monotonic() - began >= 3 * INTERVAL_S


def test_no_thread_but_those_of_the_callers_works(group: Group) -> None:
    before = set(threading.enumerate())
    with ThreadPoolExecutor(8, thread_name_prefix="caller") as pool:
        list(pool.map(lambda number: group.append(f"e-{number}"), range(8)))
    assert {name.partition("_")[0] for name in group.threads} == {"caller"}
    assert set(threading.enumerate()) - before == set()


def test_the_same_entry_by_several_callers_is_one(group: Group) -> None:
    group.side_by_side([partial(group.append, "same") for _ in range(6)])
    assert group.append("same").places == {"same": 1}
    assert group.store.head().tree.end == 2


def test_a_failed_commit_fails_all_that_share_it_and_the_next_goes_on(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = firestore.WriteBatch.commit
    commits = itertools.count()

    def cut_off(batch: firestore.WriteBatch) -> object:
        if next(commits):
            raise google_errors.ServiceUnavailable("connection lost")  # type: ignore[no-untyped-call]
        return commit(batch)

    with monkeypatch.context() as patch:
        patch.setattr(firestore.WriteBatch, "commit", cut_off)
        outcomes = group.side_by_side([partial(group.append, f"e-{n}") for n in range(5)])
    assert [type(each) for each in outcomes] == [Unavailable] * 5
    assert len({id(each) for each in outcomes}) == 5
    assert group.store.head().tree.end == 1
    assert group.append("e-0", "e-1").places == {"e-0": 1, "e-1": 2}


def test_those_who_do_not_fit_into_a_commit_go_into_the_next(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "LARGEST_COMMIT", 10)
    names = [[f"e-{caller}-{n}" for n in range(4)] for caller in range(5)]
    group.side_by_side([partial(group.append, *mine) for mine in names])
    assert [len(each.added) for each in group.told] == [1, 8, 8, 4]
    assert all(len({name.split("-")[1] for name in each.added}) <= 2 for each in group.told[1:])


def test_a_caller_whose_entries_are_more_than_the_rest_of_a_commit_waits_whole(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_BYTES", 5000)
    large = [[entry(f"e-{caller}", 3000)] for caller in range(3)]
    group.side_by_side([partial(group.append_all, mine) for mine in large])
    assert [len(each.added) for each in group.told] == [1, 1, 1, 1]


def test_whoever_comes_when_too_many_wait_is_sent_away(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "WAITING_ENTRIES", 3)
    outcomes = group.side_by_side([partial(group.append, f"e-{n}") for n in range(8)])
    sent_away = [each for each in outcomes if isinstance(each, Unavailable)]
    assert len(sent_away) == 5
    assert all(each.retry_after_s == 1 for each in sent_away)
    assert group.store.head().tree.end == 4


def test_many_callers_at_two_instances_make_one_ledger(database: FirestoreClient) -> None:
    groups = [Group(database, 0.02), Group(database, 0.02)]
    with ThreadPoolExecutor(40) as pool:
        committed = list(pool.map(lambda number: groups[number % 2].append(f"e-{number % 60}"), range(120)))
    by_name: dict[str, set[int]] = {}
    for number, each in enumerate(committed):
        by_name.setdefault(f"e-{number % 60}", set()).add(each.places[f"e-{number % 60}"])
    assert all(len(found) == 1 for found in by_name.values())
    assert {place for found in by_name.values() for place in found} == set(range(60))
