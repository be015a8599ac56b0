"""One subscriber's queue: bounded by count and bytes, filled by whoever publishes, emptied by the stream's own thread.

A subscriber that does not keep up is ended and its queue freed at once; publishing never waits for anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from agent_mesh.relay.messages import Message
from agent_mesh.relay.topics import TopicPattern


class EndReason(StrEnum):
    """Why a stream ends. Its reader may connect again with the last id, and misses nothing that is kept."""

    SLOW = "slow"
    """The reader did not keep up."""
    RECYCLED = "recycled"
    """The stream was open for long or sent much: it ends before the platform cuts it."""
    SHUTDOWN = "shutdown"
    """The instance stops."""
    UNAVAILABLE = "unavailable"
    """What was missed cannot be read from the database at the moment."""
    GONE = "gone"
    """The reader has closed the connection."""


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait for one subscriber."""

    messages: int = 1000
    size_bytes: int = 4 * 1024 * 1024


DEFAULT_QUEUE_LIMITS: Final = QueueLimits()

Shortcut: TypeAlias = Callable[[Sequence[Message]], bool]
"""Takes messages from the publisher's thread while the stream's own waits; false if they have to wait in the queue."""


class Subscriber:
    """What waits for one stream."""

    def __init__(self, patterns: tuple[TopicPattern, ...], limits: QueueLimits = DEFAULT_QUEUE_LIMITS) -> None:
        """Take messages on topics that the patterns mean."""
        self.patterns = patterns
        self._limits = limits
        self._changed = threading.Condition(threading.Lock())
        self._queue: list[Message] = []
        self._size_bytes = 0
        self._woken = False
        self._waiting = False
        self._shortcut: Shortcut | None = None
        self._end: EndReason | None = None

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._queue)

    def use(self, shortcut: Shortcut) -> None:
        """Offer messages to `shortcut` first, whenever nothing waits but the stream's thread.

        Waking a thread for each of hundreds of streams takes longer than to write for all of them.
        """
        with self._changed:
            self._shortcut = shortcut

    def offer(self, messages: Sequence[Message]) -> bool:
        """Let messages wait, if nobody can take them at once; return False if this subscriber has ended."""
        with self._changed:
            if self._end is not None:
                return False
            if self._shortcut and self._waiting and not self._queue and self._shortcut(messages):
                return True
            for message in messages:
                self._queue.append(message)
                self._size_bytes += message.size_bytes
            if len(self._queue) > self._limits.messages or self._size_bytes > self._limits.size_bytes:
                self._finish(EndReason.SLOW)
            self._changed.notify()
            return self._end is None

    def end(self, reason: EndReason) -> None:
        """End it, if it has not ended: what waits is dropped."""
        with self._changed:
            if self._end is None:
                self._finish(reason)
                self._changed.notify()

    def wake(self) -> None:
        """Let `take` return, though nothing has come: its thread has something else to look at."""
        with self._changed:
            self.wake_from_shortcut()

    def wake_from_shortcut(self) -> None:
        """The same, called by the shortcut."""
        self._woken = True
        self._changed.notify()

    def take(self, timeout_s: float) -> Sequence[Message] | EndReason | None:
        """Return everything that waits, or the reason of the end, or None if nothing came in time."""
        with self._changed:
            if not (self._queue or self._end or self._woken):
                self._waiting = True
                self._changed.wait(timeout_s)
                self._waiting = False
            self._woken = False
            if self._end is not None:
                return self._end
            taken, self._queue, self._size_bytes = self._queue, [], 0
            return taken or None

    def _finish(self, reason: EndReason) -> None:
        self._end = reason
        self._queue = []
        self._size_bytes = 0
