"""What one instance knows of the newest message of each topic."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from agent_mesh.platform.clock import Clock

TRUSTED_SECONDS: Final = 600.0
_LIMIT: Final = 10_000


class Heads:
    """Numbers by topic, each forgotten after 10 minutes; of more than 10,000 topics the oldest first."""

    def __init__(self, clock: Clock) -> None:
        """Know nothing."""
        self._clock = clock
        self._lock = threading.Lock()
        self._heads: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def get(self, topic: str) -> int | None:
        """Return the number of a topic's newest message, None if it is not known."""
        with self._lock:
            number, until = self._heads.get(topic, (None, 0.0))
            return number if self._clock.now() < until else None

    def set(self, topic: str, number: int, learnt_at: float) -> None:
        """Note the newest message, as it was when the asking began."""
        with self._lock:
            self._heads[topic] = (number, learnt_at + TRUSTED_SECONDS)
            self._heads.move_to_end(topic)
            if len(self._heads) > _LIMIT:
                self._heads.popitem(last=False)

    def forget(self, topic: str) -> None:
        """Ask again next time."""
        with self._lock:
            self._heads.pop(topic, None)
