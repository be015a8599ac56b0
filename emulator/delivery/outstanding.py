"""Which leased messages of one subscription are delivered when: a pure state machine.

    waiting ──take_ready──▶ in flight ──acked──▶ gone
       ▲                        │
       └──────── failed ────────┴─ (last attempt) ─▶ dead ──acked (forwarded)──▶ gone

Times are seconds on any steady clock; the caller holds the lock.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

from emulator.delivery.backoff import Backoff
from emulator.delivery.messages import Lease, Message


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How a subscription delivers. ``max_attempts`` None means that nothing is dead-lettered."""

    backoff: Backoff
    concurrency: int
    max_attempts: int | None = None
    ordering: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to do now: push the message, or forward it to the dead-letter topic."""

    message: Message
    attempt: int
    dead: bool


@dataclass(slots=True)
class _Entry:
    lease: Lease
    failures: int = 0
    postponements: int = 0
    dead: bool = False


class Outstanding:
    """The leased messages of one subscription."""

    def __init__(self, policy: DeliveryPolicy) -> None:
        """Start empty."""
        self._policy = policy
        self._entries: dict[str, _Entry] = {}
        self._waiting: list[tuple[float, int, str]] = []
        self._queues: dict[str, deque[str]] = {}
        self._in_flight = 0
        self._arrivals = 0

    def __len__(self) -> int:
        """How many messages are leased."""
        return len(self._entries)

    @property
    def in_flight(self) -> int:
        """How many deliveries are running."""
        return self._in_flight

    def offer(self, lease: Lease, now: float) -> None:
        """Take over a leased message; one that is known already only gets its new ack id."""
        message = lease.message
        known = self._entries.get(message.message_id)
        if known is not None:
            known.lease = lease
            return
        self._entries[message.message_id] = _Entry(lease)
        key = message.ordering_key if self._policy.ordering else ""
        if key:
            queue = self._queues.setdefault(key, deque())
            queue.append(message.message_id)
            if queue[0] != message.message_id:
                return
        self._wait(message.message_id, now)

    def take_ready(self, now: float) -> list[Delivery]:
        """What to do now, oldest first, within the concurrency; each is then in flight."""
        ready: list[Delivery] = []
        while self._waiting and self._waiting[0][0] <= now and self._in_flight < self._policy.concurrency:
            _, _, message_id = heapq.heappop(self._waiting)
            entry = self._entries[message_id]
            self._in_flight += 1
            attempt = entry.failures if entry.dead else entry.failures + 1
            ready.append(Delivery(entry.lease.message, attempt, entry.dead))
        return ready

    def acked(self, message_id: str, now: float) -> str:
        """The delivery succeeded: forget the message and return the id to ack it with."""
        self._in_flight -= 1
        entry = self._entries.pop(message_id)
        key = entry.lease.message.ordering_key
        queue = self._queues.get(key)
        if queue is not None:
            queue.popleft()
            if queue:
                self._wait(queue[0], now)
            else:
                del self._queues[key]
        return entry.lease.ack_id

    def failed(self, message_id: str, now: float) -> None:
        """The delivery failed: again after a backoff, or dead after the last attempt."""
        self._in_flight -= 1
        entry = self._entries[message_id]
        if entry.dead:
            entry.postponements += 1
            self._wait(message_id, now + self._policy.backoff.delay(entry.postponements))
            return
        entry.failures += 1
        entry.dead = self._policy.max_attempts is not None and entry.failures >= self._policy.max_attempts
        delay = 0.0 if entry.dead else self._policy.backoff.delay(entry.failures)
        self._wait(message_id, now + delay)

    def next_due(self) -> float | None:
        """When the next waiting message wants to be delivered; None if none waits or all slots are busy."""
        if not self._waiting or self._in_flight >= self._policy.concurrency:
            return None
        return self._waiting[0][0]

    def ack_ids(self) -> list[str]:
        """The ids of all leases, to extend them or give them back."""
        return [entry.lease.ack_id for entry in self._entries.values()]

    def _wait(self, message_id: str, due: float) -> None:
        self._arrivals += 1
        heapq.heappush(self._waiting, (due, self._arrivals, message_id))
