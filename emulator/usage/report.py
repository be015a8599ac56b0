"""The usage document of one server, as JSON can hold it.

    service     "firestore" or "pubsub"
    prices      version of the price list, and the location whose prices are used
    totals      a line
    byMethod    a line for each method
    traces      kept      how many traces have a line of their own
                shown     the last used first: a line with "trace" and "lastUsed"; and with "byMethod" where one was
                          asked for
                untraced  a line: calls and messages without a trace
                older     a line: traces that were crowded out

A line holds each of the service's counts and ``costMicroUsd``, see ``emulator.prices``. All lines of ``traces`` add up
to ``totals`` exactly where all kept traces are shown; costs do so before they are rounded to the picodollar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from emulator.prices import DEFAULT_LOCATION, VERSION, firestore_prices, micro_usd
from emulator.usage.ledger import Account, Counts, Ledger

SHOWN: Final = 100
Line = dict[str, object]
Pricing = Callable[[Mapping[str, int], str], int]
"""Counts by kind and a location: picodollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is wanted: one trace in detail, or the ``limit`` last ones; and whose prices."""

    trace: str = ""
    limit: int = SHOWN
    location: str = DEFAULT_LOCATION


def question_from(arguments: Mapping[str, object]) -> Question:
    """Read a question that came as JSON or as a URL's query. Raises ValueError."""
    unknown = sorted(arguments.keys() - {"trace", "limit", "location"})
    if unknown:
        raise ValueError(f"usage takes trace, limit and location, not {', '.join(unknown)}")
    limit = str(arguments.get("limit", SHOWN))
    if not limit.isdecimal():
        raise ValueError(f"limit must be a number of traces, 0 or more, not {limit!r}")
    location = str(arguments.get("location", DEFAULT_LOCATION))
    firestore_prices(location)
    return Question(trace=str(arguments.get("trace", "")), limit=int(limit), location=location)


EVERYTHING: Final = Question()
ONE_REQUEST: Final = {"requests": 1}


@dataclass(frozen=True, slots=True)
class Books:
    """A service's ledger, its kinds of counts in the order of a line, and what they cost."""

    service: str
    kinds: tuple[str, ...]
    pricing: Pricing
    ledger: Ledger = field(default_factory=Ledger)

    def report(self, question: Question) -> dict[str, object]:
        """The document. Raises ValueError for a location without prices."""
        ledger = self.ledger
        return {
            "service": self.service,
            "prices": {"version": VERSION, "location": question.location},
            "totals": self._sum(ledger.total, question.location),
            "byMethod": self._by_method(ledger.total, question.location),
            "traces": {
                "kept": len(ledger),
                "shown": [self._shown(trace, account, question) for trace, account in self._chosen(question)],
                "untraced": self._sum(ledger.untraced.counts, question.location),
                "older": self._sum(ledger.older.counts, question.location),
            },
        }

    def line(self, counts: Mapping[str, int], location: str) -> Line:
        """One line: each kind, and what all of them cost."""
        kinds = {kind: counts.get(kind, 0) for kind in self.kinds}
        return {**kinds, "costMicroUsd": micro_usd(self.pricing(kinds, location))}

    def _chosen(self, question: Question) -> Iterable[tuple[str, Account]]:
        if question.trace:
            found = self.ledger.find(question.trace)
            return [(question.trace, found)] if found else []
        return islice(self.ledger.latest(), question.limit)

    def _shown(self, trace: str, account: Account, question: Question) -> Line:
        used = datetime.fromtimestamp(account.used, UTC).isoformat(timespec="milliseconds")
        line = {"trace": trace, "lastUsed": used, **self._sum(account.counts, question.location)}
        return line | ({"byMethod": self._by_method(account.counts, question.location)} if question.trace else {})

    def _sum(self, counts: Counts, location: str) -> Line:
        kinds: Counter[str] = Counter()
        for (_, kind), count in counts.items():
            kinds[kind] += count
        return self.line(kinds, location)

    def _by_method(self, counts: Counts, location: str) -> dict[str, Line]:
        methods: dict[str, dict[str, int]] = {}
        for (method, kind), count in counts.items():
            methods.setdefault(method, {})[kind] = count
        return {method: self.line(methods[method], location) for method in sorted(methods)}
