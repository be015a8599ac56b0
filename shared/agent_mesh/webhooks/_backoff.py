"""When a callback that failed is tried again."""

from __future__ import annotations

DELAYS_S = (5.0, 30.0, 120.0, 600.0, 3600.0)


def next_attempt_at(attempt: int, now: float) -> float | None:
    """Return when to try again after failed attempt number `attempt` (1 is the first), None to give up.

    `now` and the answer are Unix seconds.
    """
    if attempt < 1:
        raise ValueError(f"attempt {attempt}: attempts are counted from 1")
    return now + DELAYS_S[attempt - 1] if attempt <= len(DELAYS_S) else None
