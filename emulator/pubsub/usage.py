"""What the service would bill, by method, topic, subscription and trace: https://cloud.google.com/pubsub/pricing.

A publish, pull or push request is billed for at least 1,000 bytes, also a pull that brings nothing; here so is each
answer on a stream, about which the page says nothing. Forwarding a dead letter is a publish. A message that a filter
drops is billed as if it had been delivered, https://cloud.google.com/pubsub/docs/subscription-message-filter, and here
as if alone in its request: an upper bound where deliveries are pulled in batches.

Messages and bytes go to the trace of each message, see ``Published.trace``. Where a request has fewer than 1,000 bytes,
its messages share the rest in proportion to their sizes: the n-th pays for what the first n have to pay together, in
whole bytes, less what those before it paid. So shares are fair to the byte and add up exactly. A request as such goes
to the trace that all of its messages have, or else to that of the call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from emulator.prices import PUBSUB_TIB
from emulator.pubsub.messages import Published
from emulator.usage.attribution import UNTRACED, current_trace
from emulator.usage.report import EVERYTHING, ONE_REQUEST, Books, Question

LEAST_BYTES: Final = 1000


class _Kinds(NamedTuple):
    requests: str
    messages: str
    size: str


_PUBLISHED: Final = _Kinds("publishes", "publishedMessages", "publishedBytes")
_DELIVERED: Final = _Kinds("deliveries", "deliveredMessages", "deliveredBytes")
_FILTERED_MESSAGES: Final = "filteredMessages"
_FILTERED_BYTES: Final = "filteredBytes"


def pico_usd(counts: Mapping[str, int], _location: str) -> int:
    """Picodollars for counts; every region has the same price."""
    return PUBSUB_TIB.of(sum(counts[kind] for kind in (_PUBLISHED.size, _DELIVERED.size, _FILTERED_BYTES)))


def shares(sizes: Sequence[int]) -> list[int]:
    """The billed bytes of one request for each of its messages."""
    total = sum(sizes)
    if total >= LEAST_BYTES:
        return list(sizes)
    paid, until, each = 0, 0, []
    for size in sizes:
        until += size
        due = until * LEAST_BYTES // total
        each.append(due - paid)
        paid = due
    return each


@dataclass(slots=True)
class Usage:
    """Counters since start or reset. Topics and subscriptions by full name."""

    books: Books = field(
        default_factory=lambda: Books(
            "pubsub", ("requests", *_PUBLISHED, *_DELIVERED, _FILTERED_MESSAGES, _FILTERED_BYTES), pico_usd
        )
    )
    resources: dict[str, Counter[str]] = field(default_factory=dict)

    def began(self, method: str) -> None:
        """Count a call of a method."""
        self.books.ledger.add(current_trace.get(), method, ONE_REQUEST)

    def published(self, method: str, topic: str, messages: Sequence[Published], call: str) -> None:
        """Count one publish request; ``call`` is the trace of whoever made it."""
        self._bill(_PUBLISHED, method, topic, messages, call)

    def delivered(self, method: str, subscription: str, messages: Sequence[Published], call: str = UNTRACED) -> None:
        """Count one answer to a pull, one on a stream, or one push."""
        self._bill(_DELIVERED, method, subscription, messages, call)

    def filtered(self, subscription: str, message: Published) -> None:
        """Count a message that a filter dropped."""
        counts = {_FILTERED_MESSAGES: 1, _FILTERED_BYTES: max(LEAST_BYTES, message.size)}
        self.books.ledger.add(message.trace, "Filtered", counts)
        self._count(subscription, counts)

    def report(self, question: Question = EVERYTHING) -> dict[str, object]:
        """All counters, as JSON can hold them. Raises ValueError for a location without prices."""
        books, location = self.books, question.location
        by_resource = {name: books.line(self.resources[name], location) for name in sorted(self.resources)}
        return {**books.report(question), "byResource": by_resource}

    def clear(self) -> None:
        """Start again from zero."""
        self.books.ledger.clear()
        self.resources.clear()

    def _bill(self, kinds: _Kinds, method: str, resource: str, messages: Sequence[Published], call: str) -> None:
        add, sizes = self.books.ledger.add, [message.size for message in messages]
        counts = {kinds.requests: 1, kinds.messages: len(sizes), kinds.size: max(LEAST_BYTES, sum(sizes))}
        traces = {message.trace for message in messages} or {call}
        if len(traces) == 1:
            add(traces.pop(), method, counts)
        else:
            add(call, method, {kinds.requests: 1})
            for message, share in zip(messages, shares(sizes), strict=True):
                add(message.trace, method, {kinds.messages: 1, kinds.size: share})
        self._count(resource, counts)

    def _count(self, resource: str, counts: Mapping[str, int]) -> None:
        found = self.resources.get(resource)
        if found is None:
            found = self.resources[resource] = Counter()
        for kind, count in counts.items():
            found[kind] += count
