"""One commit for all who append at the same time, in the thread of one of them: nothing outlives its request.

Whoever comes first leads. The leader waits until an interval has passed since the last commit began, takes those who
wait, as many as fit into one commit, commits, and tells each of them its places; of those who came meanwhile the first
leads next. A commit that fails fails all that were in it, and nothing of it is in the ledger.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.ledger.sequencer import COMMIT_BYTES, LARGEST_COMMIT, Candidate, Committed, Sequencer
from agent_mesh.ledger.store import ASKED_AT_ONCE

WAITING_ENTRIES: Final = 4 * LARGEST_COMMIT
"""Entries that may wait; whoever comes after them is sent away."""

WAITING_BYTES: Final = 32 * 1024 * 1024

_PAUSE_S: Final = 0.02
"""Between two looks of the leader at who has come meanwhile."""


class _Waiting:
    """Somebody who appends: what, and what has come of it."""

    def __init__(self, candidates: Sequence[Candidate], *, looked_up: bool) -> None:
        self.candidates = candidates
        self.looked_up = looked_up
        self.size = sum(each.size for each in candidates)
        self.called = threading.Event()
        self.leads = False
        self.committed: Committed | None = None
        self.failure: Exception | None = None

    def outcome(self) -> Committed:
        """Return the commit; raise what it failed with."""
        if self.committed is None:
            raise _own(self.failure)
        return self.committed


class GroupCommit:
    """Appends for many threads at once. One for each process."""

    def __init__(
        self, sequencer: Callable[[], Sequencer], interval_s: float, tell: Callable[[Committed], None]
    ) -> None:
        """Begin two commits at least `interval_s` seconds apart; `tell` is called after each that added something.

        `sequencer` gives the one sequencer of this process, at the first use.
        """
        self._sequencer = sequencer
        self._interval_s = interval_s
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._entries = self._bytes = 0
        self._led = False
        self._began = float("-inf")

    def append(self, candidates: Sequence[Candidate]) -> Committed:
        """Return the commit after which all candidates are in the ledger; it may have placed others' as well.

        Raises:
            Unavailable: too many wait, or the commit failed: nothing of it is in the ledger, or the answer was lost.
            LedgerError: what is stored was changed, and nothing is appended to it.
        """
        many = len(candidates) >= ASKED_AT_ONCE  # fewer are cheaper together with those of others
        mine = _Waiting(self._sequencer().look_up(candidates) if many else candidates, looked_up=many)
        self._join(mine)
        mine.called.wait()
        if mine.leads:
            self._lead()
        return mine.outcome()

    def _join(self, mine: _Waiting) -> None:
        with self._lock:
            full = self._entries + len(mine.candidates) > WAITING_ENTRIES or self._bytes + mine.size > WAITING_BYTES
            if full and self._waiting:
                detail = "Too many entries wait for their place in the ledger; nothing was added, ask again."
                raise Unavailable(detail, retry_after_s=1)
            self._waiting.append(mine)
            self._count(mine, 1)
            if not self._led:
                self._led = mine.leads = True
                mine.called.set()

    def _lead(self) -> None:
        group: list[_Waiting] = []
        try:
            self._await_turn()
            group = self._take()
            committed = self._sequencer().commit([candidate for each in group for candidate in each.candidates])
            for each in group:
                each.committed = committed
            if committed.added:
                self._tell(committed)
        except Exception as error:  # noqa: BLE001  # it is raised again by each of those it failed
            for each in group:
                each.failure = error
        finally:
            self._hand_over(group or self._take())

    def _await_turn(self) -> None:
        """Wait until the interval is over; meanwhile look up those who wait already, so that the commit is short."""
        turn = self._began + self._interval_s
        while (remaining := turn - time.monotonic()) > 0:
            if not self._look_up_ahead():
                time.sleep(min(remaining, _PAUSE_S))
        self._began = time.monotonic()

    def _look_up_ahead(self) -> bool:
        """Look up as many entries as one query asks for; return False, and do nothing, while fewer wait."""
        chosen: list[_Waiting] = []
        with self._lock:
            for each in self._waiting:
                if not each.looked_up:
                    chosen.append(each)
                if sum(len(waiting.candidates) for waiting in chosen) >= ASKED_AT_ONCE:
                    break
            else:
                return False
        found = iter(self._sequencer().look_up([candidate for each in chosen for candidate in each.candidates]))
        for each in chosen:
            each.candidates = [next(found) for _ in each.candidates]
            each.looked_up = True
        return True

    def _take(self) -> list[_Waiting]:
        """Take those who wait, from the first on, as far as one commit holds them; the leader is the first."""
        group, entries, size = list[_Waiting](), 0, 0
        with self._lock:
            while self._waiting:
                each = self._waiting[0]
                entries, size = entries + len(each.candidates), size + each.size
                if group and (entries > LARGEST_COMMIT or size > COMMIT_BYTES):
                    break
                group.append(self._waiting.popleft())
                self._count(each, -1)
        return group

    def _hand_over(self, group: Sequence[_Waiting]) -> None:
        with self._lock:
            self._led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].called.set()
        for each in group:
            each.called.set()

    def _count(self, each: _Waiting, sign: int) -> None:
        self._entries += sign * len(each.candidates)
        self._bytes += sign * each.size


def _own(failure: Exception | None) -> Exception:
    """Return an error of its own for each thread: one that several raise would collect the tracebacks of all."""
    if isinstance(failure, Unavailable):
        return Unavailable(failure.detail, retry_after_s=failure.retry_after_s)
    if isinstance(failure, LedgerError):
        return type(failure)(str(failure))
    return failure or Unavailable("The commit was broken off; ask again.", retry_after_s=1)
