"""When to ask again: retries of what is safe to repeat, and the growing steps of a wait."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, Protocol

from agent_mesh.client._errors import ConnectionFailed, ConnectionTimedOut, MeshClientError, ProblemError

ATTEMPTS: Final = 4
LONGEST_RETRY_AFTER_S: Final = 20.0
"""A server that asks for more patience than this gets none: the caller is told, with the number."""

_FIRST_DELAY_S: Final = 0.1
_PASSING: Final = frozenset({429, 503})


class Clock(Protocol):
    """What waiting needs of the module `time`."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


def retry_delay(error: MeshClientError, attempt: int) -> float | None:
    """Return the seconds before another try after the failed `attempt` (from 1), None when there is to be none.

    No server or 429 or 503 may pass; an answer that took longer than the caller's own timeout is not asked for twice.
    """
    if attempt >= ATTEMPTS or isinstance(error, ConnectionTimedOut):
        return None
    delay = float(_FIRST_DELAY_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, no secret
    if isinstance(error, ConnectionFailed):
        return delay
    if isinstance(error, ProblemError) and error.status in _PASSING:
        asked = error.retry_after_s
        if asked is None:
            return delay
        return asked if asked <= LONGEST_RETRY_AFTER_S else None
    return None


def growing_steps(first_s: float, longest_s: float, factor: float = 1.5) -> Iterator[float]:
    """Yield the seconds between two looks: short for quick tasks, never longer than `longest_s`."""
    step = first_s
    while True:
        yield step
        step = min(step * factor, longest_s)
