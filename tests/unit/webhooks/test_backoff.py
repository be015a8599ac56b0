"""When a failed callback is tried again."""

from __future__ import annotations

import pytest

from agent_mesh.webhooks import next_attempt_at


def test_five_repetitions_over_more_than_an_hour_and_then_none() -> None:
    assert [next_attempt_at(attempt, 1000.0) for attempt in range(1, 8)] == [
        1005.0,
        1030.0,
        1120.0,
        1600.0,
        4600.0,
        None,
        None,
    ]


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_are_counted_from_one(attempt: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        next_attempt_at(attempt, 1000.0)
