"""Moments: stored with milliseconds, in UTC, written as RFC 3339."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.contracts.values import LATEST_UNIX_SECONDS
from agent_mesh.platform.clock import SystemClock, moment, rfc3339


def test_the_clock_of_the_machine_tells_unix_seconds() -> None:
    assert abs(SystemClock().now() - time.time()) < 1


def test_a_moment_is_aware_utc_with_whole_milliseconds() -> None:
    assert moment(1_800_000_000.123456) == datetime(2027, 1, 15, 8, 0, 0, 123_000, tzinfo=UTC)
    assert moment(1_800_000_000.0).tzinfo is UTC


@given(st.floats(0, LATEST_UNIX_SECONDS))
def test_a_moment_is_never_later_and_less_than_two_milliseconds_earlier(seconds: float) -> None:
    at = moment(seconds)
    assert -1e-6 < seconds - at.timestamp() < 0.002
    assert at.microsecond % 1000 == 0


def test_a_moment_is_written_in_utc() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6_999, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(at) == "2026-01-02T01:04:05.006Z"
