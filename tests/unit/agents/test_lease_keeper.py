"""Leases are kept while handlers work: by one thread, which nothing ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from agent_mesh.agents.lease_keeper import LeaseKeeper
from agent_mesh.platform.logs import current_trace
from agent_mesh.platform.trace import new_trace

INTERVAL_S = 0.02
PATIENCE_S = 5.0


class Renewals:
    """Counts renewals and lets a test wait for them."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def reached(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, PATIENCE_S)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lease-keeper"]


@pytest.fixture
def keeper() -> LeaseKeeper:
    return LeaseKeeper(INTERVAL_S)


def test_a_lease_is_renewed_again_and_again_but_not_at_once(keeper: LeaseKeeper) -> None:
    renewals, started = Renewals(), time.monotonic()
    release = keeper.keep(renewals, 60)
    assert renewals.reached(3)
    assert time.monotonic() - started >= 3 * INTERVAL_S
    release()


def test_a_renewal_belongs_to_the_trace_of_its_run(keeper: LeaseKeeper) -> None:
    renewals, traces = Renewals(), []

    def renew() -> None:
        traces.append(current_trace.get())
        renewals()

    trace = new_trace()
    token = current_trace.set(trace)
    release = keeper.keep(renew, 60)
    current_trace.reset(token)
    assert renewals.reached(2)
    release()
    assert traces[:2] == [trace, trace]


def test_a_lease_that_was_released_is_renewed_no_more(keeper: LeaseKeeper) -> None:
    renewals = Renewals()
    release = keeper.keep(renewals, 60)
    assert renewals.reached(1)
    release()
    time.sleep(INTERVAL_S)  # a renewal that was under way
    count = renewals.count
    time.sleep(5 * INTERVAL_S)
    assert renewals.count == count


def test_a_lease_released_twice_is_no_fault(keeper: LeaseKeeper) -> None:
    release = keeper.keep(Renewals(), 60)
    release()
    release()
    renewals = Renewals()
    keeper.keep(renewals, 60)
    assert renewals.reached(1)


def test_no_lease_is_kept_for_longer_than_was_said(keeper: LeaseKeeper) -> None:
    short, long = Renewals(), Renewals()
    keeper.keep(short, 2.5 * INTERVAL_S)
    keeper.keep(long, 60)
    assert long.reached(8)
    assert short.count <= 2
    assert len(keeper._due) == 1


def test_a_renewal_that_fails_ends_neither_its_own_lease_nor_any_other(keeper: LeaseKeeper) -> None:
    renewals, failures = Renewals(), Renewals()

    def fail() -> None:
        failures()
        raise OSError("the database is on fire")

    releases = [keeper.keep(fail, 60), keeper.keep(renewals, 60)]
    assert failures.reached(3)
    assert renewals.reached(3)
    for release in releases:
        release()


def test_all_leases_of_a_process_share_one_thread_that_starts_with_the_first() -> None:
    before = len(threads())
    keeper = LeaseKeeper(60)
    assert len(threads()) == before
    for _ in range(10):
        keeper.keep(Renewals(), 60)
    assert len(threads()) == before + 1


def test_a_thousand_leases_come_and_go_without_a_trace() -> None:
    keeper, before = LeaseKeeper(0.001), len(threads())

    def work() -> None:
        for _ in range(250):
            keeper.keep(Renewals(), 60)()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
    assert keeper._due == {}
    assert len(threads()) == before + 1
    renewals = Renewals()
    keeper.keep(renewals, 60)
    assert renewals.reached(2)


def test_a_keeper_without_leases_sleeps(keeper: LeaseKeeper) -> None:
    keeper.keep(Renewals(), 60)()
    time.sleep(2 * INTERVAL_S)
    before = time.process_time()
    time.sleep(10 * INTERVAL_S)
    assert time.process_time() - before < 5 * INTERVAL_S


def test_a_lease_that_comes_while_another_waits_long_is_renewed_in_time(keeper: LeaseKeeper) -> None:
    releases: list[Callable[[], None]] = [keeper.keep(Renewals(), 60)]
    releases.pop()()
    renewals = Renewals()
    keeper.keep(renewals, 60)
    assert renewals.reached(2)
