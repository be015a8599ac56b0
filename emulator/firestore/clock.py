"""The server's idea of now, in microseconds since 1970, which a test may stop, set and move."""

from __future__ import annotations

import time
from typing import Final

MICROS: Final = 1_000_000


class Clock:
    """Runs with the machine's clock until it is told otherwise."""

    def __init__(self) -> None:
        """Run with the machine's clock."""
        self._shift = 0
        self._stopped: int | None = None

    def now(self) -> int:
        """Microseconds since 1970."""
        return self._stopped if self._stopped is not None else time.time_ns() // 1000 + self._shift

    def advance(self, seconds: float) -> None:
        """Move forward, running or not."""
        if self._stopped is None:
            self._shift += int(seconds * MICROS)
        else:
            self._stopped += int(seconds * MICROS)

    def stop(self, at_seconds: float | None = None) -> None:
        """Stand still, now or at the time given."""
        self._stopped = self.now() if at_seconds is None else int(at_seconds * MICROS)

    def run(self) -> None:
        """Run again with the machine's clock."""
        self._shift, self._stopped = 0, None
