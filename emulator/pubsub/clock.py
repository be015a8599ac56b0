"""Time that tests control, and what has to happen at a time.

Everything that waits (ack deadlines, backoff, retention, expiration) waits on these timers, so that
moving the clock moves all of it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable

Action = Callable[[], None]


class Clock:
    """Unix seconds: the machine's time plus what was advanced, or a time that stands still."""

    def __init__(self) -> None:
        """Run with the machine."""
        self._ahead = 0.0
        self._frozen: float | None = None

    def now(self) -> float:
        """The time."""
        return time.time() + self._ahead if self._frozen is None else self._frozen

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._frozen is not None

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds. Raises ValueError for a step back, or one without an end."""
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"a clock only moves forward, not by {seconds} s")
        if self._frozen is None:
            self._ahead += seconds
        else:
            self._frozen += seconds

    def freeze(self) -> None:
        """Stand still until :meth:`advance` or :meth:`run`."""
        self._frozen = self.now()

    def run(self) -> None:
        """Run again, from the time it stood at."""
        if self._frozen is not None:
            self._ahead = self._frozen - time.time()
            self._frozen = None


class Timers:
    """Actions in the order of their times, on one event loop."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is planned."""
        self._clock = clock
        self._planned: list[tuple[float, int, Action]] = []
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")

    def at(self, when: float, action: Action) -> None:
        """Run the action at this time (Unix seconds), or soon after."""
        heapq.heappush(self._planned, (when, next(self._numbers), action))
        if when < self._alarm_at:
            self._arm()

    def catch_up(self) -> None:
        """Run what is due, because the time came or because the clock was moved."""
        now = self._clock.now()
        while self._planned and self._planned[0][0] <= now:
            heapq.heappop(self._planned)[2]()
        self._arm()

    def clear(self) -> None:
        """Forget everything."""
        self._planned.clear()
        self._disarm()

    def _arm(self) -> None:
        self._disarm()
        if not self._planned or self._clock.frozen:
            return
        self._alarm_at = self._planned[0][0]
        wait = max(self._alarm_at - self._clock.now(), 0.0)
        self._alarm = asyncio.get_running_loop().call_later(min(wait, _LONGEST_WAIT), self.catch_up)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        self._alarm_at = float("inf")


_LONGEST_WAIT = 3600.0
