"""What the requests would have cost: reads, writes and deletes by method, and documents written too often.

https://firebase.google.com/docs/firestore/pricing: a query that finds nothing is one read, a delete of nothing one
delete, and up to 1,000 index entries that an aggregation looks at are one read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from emulator.firestore.clock import MICROS
from emulator.firestore.documents import Commit

INDEX_ENTRIES_PER_READ: Final = 1000
_SUSTAINED_SECONDS: Final = 10
_TRACKED: Final = 10_000


@dataclass(slots=True)
class _Rate:
    since: int
    writes: int = 0


@dataclass(slots=True)
class Usage:
    """Counters since the start or the last reset."""

    reads: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    deletes: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    hot: dict[str, float] = field(default_factory=dict)
    _rates: dict[str, _Rate] = field(default_factory=dict)

    def observe(self, commit: Commit) -> None:
        """Note the documents that are written more than once a second for ten seconds or longer."""
        for change in commit.changes:
            name = f"{commit.database}/documents/{change.path}"
            rate = self._rates.get(name)
            if rate is None or commit.time - rate.since > 2 * _SUSTAINED_SECONDS * MICROS:
                if len(self._rates) >= _TRACKED:
                    self._rates.clear()
                rate = self._rates[name] = _Rate(commit.time)
            rate.writes += 1
            seconds = (commit.time - rate.since) / MICROS
            if seconds >= _SUSTAINED_SECONDS and rate.writes > seconds:
                self.hot[name] = max(self.hot.get(name, 0.0), round(rate.writes / seconds, 2))

    def report(self) -> dict[str, object]:
        """All counters, as JSON can hold them."""
        kinds = {"reads": self.reads, "writes": self.writes, "deletes": self.deletes}
        return {
            **{name: counter.total() for name, counter in kinds.items()},
            "byMethod": {
                method: {"requests": count, **{name: counter[method] for name, counter in kinds.items()}}
                for method, count in sorted(self.requests.items())
            },
            "writtenOverOncePerSecond": dict(self.hot),
        }

    def clear(self) -> None:
        """Start from zero."""
        for counter in (self.reads, self.writes, self.deletes, self.requests, self.hot, self._rates):
            counter.clear()
