"""The messages of one subscription that are not done: a pure state machine in which time is given.

    waiting ──take──▶ leased ──ack──▶ gone (or kept as acked)
       ▲                 │
       └──── requeue ────┘  at once, or when its backoff ends

Order: of the messages with one ordering key, only one consumer holds any at a time, and a message
that comes back takes the later ones along, acked or not: https://cloud.google.com/pubsub/docs/ordering.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from emulator.pubsub.messages import Published

_STALE_DEADLINES: Final = 1000
_LEASES: Final = itertools.count(time.time_ns() // 1_000_000)  # never one of an earlier process


class State(enum.Enum):
    """Where a message is."""

    WAITING = 1
    LEASED = 2
    ACKED = 3


@dataclass(slots=True, eq=False)
class Entry:
    """A message in a subscription.

    ``deliveries`` counts its leases, ``lease`` names the latest one, ``due`` is when its backoff ends,
    and ``early`` says that it was acked while an earlier one of its ordering key is still out.
    """

    message: Published
    state: State = State.WAITING
    deliveries: int = 0
    due: float = 0.0
    deadline: float = 0.0
    holder: Any = None
    lease: int = 0
    early: bool = False


@dataclass(frozen=True, slots=True)
class Appetite:
    """How much a consumer takes at once, for how long, and whether only one message per ordering key."""

    messages: int
    size: int
    deadline: float
    one_per_key: bool = False


@dataclass(slots=True)
class _KeyQueue:
    """One ordering key: who holds which messages, which wait for them, and until when all wait."""

    outstanding: dict[int, Entry] = field(default_factory=dict)
    parked: list[int] = field(default_factory=list)
    holder: object = None
    due: float = 0.0


class Backlog:
    """Entries by message number."""

    def __init__(self, *, ordered: bool) -> None:
        """Start empty; ``ordered`` respects ordering keys."""
        self.entries: dict[int, Entry] = {}
        self._ordered = ordered
        self._ready: list[int] = []
        self._later: list[tuple[float, int]] = []
        self._deadlines: list[tuple[float, int, int]] = []
        self._keys: dict[str, _KeyQueue] = {}
        self._kept_for: dict[object, set[str]] = {}
        self._leased = 0

    @property
    def ready(self) -> bool:
        """Whether it is worth asking for messages."""
        return bool(self._ready or self._kept_for)

    @property
    def open_count(self) -> int:
        """How many messages are not done."""
        return sum(entry.state is not State.ACKED for entry in self.entries.values())

    @property
    def leased_count(self) -> int:
        """How many of them somebody holds."""
        return self._leased

    def add(self, message: Published) -> None:
        """A message was published."""
        self.entries[message.number] = Entry(message)
        heapq.heappush(self._ready, message.number)

    def take(self, appetite: Appetite, holder: object, now: float) -> list[Entry]:
        """Lease the oldest messages that are ready, in order, to a holder."""
        taken: list[Entry] = []
        size = 0
        for key in self._kept_for.pop(holder, ()):
            self._unpark(key, self._keys[key])
        while self._ready and len(taken) < appetite.messages:
            number = heapq.heappop(self._ready)
            entry = self.entries.get(number)
            if entry is None or entry.state is not State.WAITING or entry.due > now:
                continue
            if taken and size + entry.message.size > appetite.size:
                heapq.heappush(self._ready, number)
                break
            if self._ordered and not self._in_turn(entry, holder, now, one=appetite.one_per_key):
                continue
            size += entry.message.size
            self._lease(entry, appetite.deadline, holder)
            taken.append(entry)
        return taken

    def extend(self, entry: Entry, deadline: float) -> None:
        """Give a leased message another deadline."""
        entry.deadline = deadline
        if len(self._deadlines) > 2 * self._leased + _STALE_DEADLINES:
            leased = (one for one in self.entries.values() if one.state is State.LEASED)
            self._deadlines = [(one.deadline, one.message.number, one.lease) for one in leased]
            heapq.heapify(self._deadlines)
        else:
            heapq.heappush(self._deadlines, (deadline, entry.message.number, entry.lease))

    def ack(self, entry: Entry, *, keep: bool = False) -> None:
        """A message is done; ``keep`` it to seek back to."""
        queue = self._queue(entry)
        if queue is not None and next(iter(queue.outstanding), entry.message.number) < entry.message.number:
            entry.early, entry.deadline = True, float("inf")
            return
        self._finish(entry, keep=keep)
        while queue is not None and (first := next(iter(queue.outstanding.values()), None)) and first.early:
            self._finish(first, keep=keep)

    def requeue(self, entry: Entry, due: float, now: float) -> list[Entry]:
        """A message comes back, to be delivered when due; returns all that came back with it."""
        back = [entry, *self._followers(entry)]
        for one in back:
            self._unlease(one)
            one.state = State.WAITING
            one.early = False
            one.due = due
            number = one.message.number
            if due > now:
                heapq.heappush(self._later, (due, number))
            else:
                heapq.heappush(self._ready, number)
        queue = self._queue(entry)
        if queue is not None:
            queue.due = due if due > now else 0.0
            for one in back:
                queue.outstanding.pop(one.message.number, None)
            if due <= now:
                self._unpark(entry.message.ordering_key, queue)
        return back

    def expired(self, now: float) -> Iterator[Entry]:
        """The leased messages whose deadline has passed."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number, lease = heapq.heappop(self._deadlines)
            entry = self.entries.get(number)
            current = entry is not None and entry.state is State.LEASED and entry.lease == lease
            if entry is not None and current and entry.deadline <= now:
                yield entry

    def end_backoffs(self, now: float) -> None:
        """Make ready whose backoff has ended."""
        while self._later and self._later[0][0] <= now:
            _, number = heapq.heappop(self._later)
            entry = self.entries.get(number)
            if entry is None or entry.state is not State.WAITING:
                continue
            heapq.heappush(self._ready, number)
            queue = self._queue(entry)
            if queue is not None and queue.due <= now:
                queue.due = 0.0
                self._unpark(entry.message.ordering_key, queue)

    def next_due(self) -> float:
        """When a lease or a backoff ends, at the earliest; infinity when nothing waits for time."""
        while self._deadlines and self._is_stale(*self._deadlines[0]):
            heapq.heappop(self._deadlines)
        deadline = self._deadlines[0][0] if self._deadlines else float("inf")
        return min(deadline, self._later[0][0]) if self._later else deadline

    def unacked(self) -> list[Published]:
        """What is not done, oldest first."""
        waiting = (entry.message for entry in self.entries.values() if entry.state is not State.ACKED)
        return sorted(waiting, key=lambda message: message.number)

    def replace(self, unacked: Iterable[Published], acked: Iterable[Published]) -> None:
        """Start again with these: leases, backoffs and delivery attempts are forgotten (seek)."""
        waiting = [Entry(message) for message in unacked]
        self.resume([*waiting, *(Entry(message, State.ACKED) for message in acked)])

    def resume(self, entries: Iterable[Entry]) -> None:
        """Start again with these entries, none of them leased."""
        self.entries = {entry.message.number: entry for entry in entries}
        self._ready = sorted(number for number, entry in self.entries.items() if entry.state is State.WAITING)
        self._later.clear()
        self._deadlines.clear()
        self._keys.clear()
        self._kept_for.clear()
        self._leased = 0

    def _lease(self, entry: Entry, deadline: float, holder: object) -> None:
        entry.state = State.LEASED
        entry.deliveries += 1
        entry.lease = next(_LEASES)
        entry.holder = holder
        self._leased += 1
        self.extend(entry, deadline)

    def _finish(self, entry: Entry, *, keep: bool) -> None:
        self._unlease(entry)
        entry.state = State.ACKED
        if not keep:
            del self.entries[entry.message.number]
        queue = self._queue(entry)
        if queue is not None:
            queue.outstanding.pop(entry.message.number, None)
            if not queue.outstanding:
                self._unpark(entry.message.ordering_key, queue)

    def _queue(self, entry: Entry) -> _KeyQueue | None:
        return self._keys.get(entry.message.ordering_key) if self._ordered else None

    def _is_stale(self, deadline: float, number: int, lease: int) -> bool:
        entry = self.entries.get(number)
        if entry is None or entry.state is not State.LEASED:
            return True
        return entry.lease != lease or entry.deadline != deadline

    def _unlease(self, entry: Entry) -> None:
        if entry.state is State.LEASED:
            self._leased -= 1

    def _in_turn(self, entry: Entry, holder: object, now: float, *, one: bool) -> bool:
        key, number = entry.message.ordering_key, entry.message.number
        if not key:
            return True
        queue = self._keys.setdefault(key, _KeyQueue())
        if queue.due > now or (queue.outstanding and (one or queue.holder is not holder)):
            heapq.heappush(queue.parked, number)
            if queue.outstanding and not one:
                self._kept_for.setdefault(queue.holder, set()).add(key)
            return False
        if queue.parked and queue.parked[0] < number:
            heapq.heappush(queue.parked, number)
            self._unpark(key, queue)
            return False
        queue.outstanding[number] = entry
        queue.holder = holder
        return True

    def _unpark(self, key: str, queue: _KeyQueue) -> None:
        for number in queue.parked:
            heapq.heappush(self._ready, number)
        queue.parked.clear()
        kept = self._kept_for.get(queue.holder)
        if kept is not None:
            kept.discard(key)
            if not kept:
                del self._kept_for[queue.holder]
        if not queue.outstanding and queue.due <= 0:
            del self._keys[key]

    def _followers(self, entry: Entry) -> list[Entry]:
        queue = self._queue(entry)
        if queue is None:
            return []
        return [one for number, one in queue.outstanding.items() if number > entry.message.number]
