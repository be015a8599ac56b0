"""Counts by method and kind: in total, and for each of the traces that were used last."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

from emulator.usage.attribution import UNTRACED

MOST_TRACES: Final = 10_000
Counts = Counter[tuple[str, str]]
"""By method and kind, such as ``("Commit", "writes")``."""


class Account:
    """What one trace, or everything that has no line of its own, has used."""

    __slots__ = ("counts", "used")

    def __init__(self) -> None:
        """Nothing yet."""
        self.counts: Counts = Counter()
        self.used = 0.0


class Ledger:
    """All counts of a server.

    The traces that were used last have accounts of their own, so that memory is bounded. One that is crowded out is
    added to ``older``, and begins anew if it is used again: whatever happens, all accounts add up to ``total``.
    """

    def __init__(self, most_traces: int = MOST_TRACES) -> None:
        """Start at zero."""
        self._most_traces = most_traces
        self._traces: OrderedDict[str, Account] = OrderedDict()
        self.clear()

    def clear(self) -> None:
        """Start again from zero."""
        self._traces.clear()
        self.total: Counts = Counter()
        self.untraced = Account()
        self.older = Account()

    def __len__(self) -> int:
        """How many traces have accounts of their own."""
        return len(self._traces)

    def add(self, trace: str, method: str, counts: Mapping[str, int]) -> None:
        """Count, by kind, for a trace, or for none of them if it is empty."""
        total, account = self.total, self._account(trace).counts
        for kind, count in counts.items():
            if count:
                entry = (method, kind)
                total[entry] += count
                account[entry] += count

    def find(self, trace: str) -> Account | None:
        """The account of a trace, if it has one."""
        return self._traces.get(trace)

    def latest(self) -> Iterator[tuple[str, Account]]:
        """The traces, beginning with the one that was used last."""
        return reversed(self._traces.items())

    def _account(self, trace: str) -> Account:
        if trace == UNTRACED:
            return self.untraced
        found = self._traces.get(trace)
        if found is None:
            found = self._traces[trace] = Account()
            if len(self._traces) > self._most_traces:
                _, crowded_out = self._traces.popitem(last=False)
                self.older.counts.update(crowded_out.counts)
        else:
            self._traces.move_to_end(trace)
        found.used = time.time()
        return found
