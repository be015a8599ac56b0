"""What the requests would have cost, by method and by trace; and documents that are written too often.

The rules stand in ``billing``. A call's counts go to the trace in its metadata, also those of a stream; what the
server does by itself, such as TTL deletes, has no trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from emulator.firestore.clock import MICROS
from emulator.firestore.documents import Commit
from emulator.prices import firestore_prices
from emulator.usage.attribution import current_trace
from emulator.usage.report import EVERYTHING, ONE_REQUEST, Books, Question

_KINDS: Final = ("requests", "reads", "writes", "deletes", "refusedWrites")
_SUSTAINED_SECONDS: Final = 10
_TRACKED: Final = 10_000


@dataclass(slots=True)
class _Rate:
    since: int
    writes: int = 0


def pico_usd(counts: Mapping[str, int], location: str) -> int:
    """Picodollars for counts.

    The price list does not say whether a write that a precondition refused costs anything: it is priced as a write, so
    that the sum is an upper bound. Raises ValueError for a location without prices.
    """
    writes = counts["writes"] + counts["refusedWrites"]
    return firestore_prices(location).of(counts["reads"], writes, counts["deletes"])


@dataclass(slots=True)
class Usage:
    """Counters since the start or the last reset."""

    books: Books = field(default_factory=lambda: Books("firestore", _KINDS, pico_usd))
    hot: dict[str, float] = field(default_factory=dict)
    _rates: dict[str, _Rate] = field(default_factory=dict)

    def began(self, method: str) -> None:
        """Count a request."""
        self.books.ledger.add(current_trace.get(), method, ONE_REQUEST)

    def read(self, method: str, documents: int) -> None:
        """Count reads."""
        self.books.ledger.add(current_trace.get(), method, {"reads": documents})

    def wrote(self, method: str, *, writes: int = 0, deletes: int = 0, verified: int = 0, refused: int = 0) -> None:
        """Count what a commit did, or would have done had it not been refused; to verify a document is to read it."""
        counts = {"writes": writes, "deletes": deletes, "refusedWrites": refused, "reads": verified}
        self.books.ledger.add(current_trace.get(), method, counts)

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

    def report(self, question: Question = EVERYTHING) -> dict[str, object]:
        """All counters, as JSON can hold them. Raises ValueError for a location without prices."""
        return {**self.books.report(question), "writtenOverOncePerSecond": dict(self.hot)}

    def clear(self) -> None:
        """Start from zero."""
        self.books.ledger.clear()
        self.hot.clear()
        self._rates.clear()
