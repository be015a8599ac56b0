"""What the service would bill: https://cloud.google.com/pubsub/pricing.

A publish, pull or push request is billed for at least 1,000 bytes. The size of a message is its
data, its attributes' keys and values, its ordering key, 20 bytes of publish time and its id.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from emulator.pubsub.protos import Proto

_LEAST_BYTES: Final = 1000
_TIMESTAMP_BYTES: Final = 20
_ID_BYTES: Final = 16


def message_size(wire: Proto) -> int:
    """Bytes of one message as the price list counts them."""
    size = len(wire.data) + _TIMESTAMP_BYTES + _ID_BYTES + len(wire.ordering_key)
    if wire.attributes:
        size += sum(map(len, itertools.chain.from_iterable(wire.attributes.items())))
    return size


@dataclass(slots=True)
class Usage:
    """Counters since start or reset. Topics and subscriptions by full name."""

    operations: Counter[str] = field(default_factory=Counter)
    published_bytes: Counter[str] = field(default_factory=Counter)
    delivered_bytes: Counter[str] = field(default_factory=Counter)
    published_messages: Counter[str] = field(default_factory=Counter)
    delivered_messages: Counter[str] = field(default_factory=Counter)

    def published(self, topic: str, sizes: Iterable[int]) -> None:
        """One publish request."""
        each = list(sizes)
        self.published_bytes[topic] += max(sum(each), _LEAST_BYTES)
        self.published_messages[topic] += len(each)

    def delivered(self, subscription: str, messages: int, size: int) -> None:
        """One answer to a pull, or one push."""
        self.delivered_bytes[subscription] += max(size, _LEAST_BYTES)
        self.delivered_messages[subscription] += messages

    def clear(self) -> None:
        """Start again from zero."""
        for counter in self._counters().values():
            counter.clear()

    def report(self) -> dict[str, dict[str, int]]:
        """All counters, for people and JSON."""
        return {name: dict(counter) for name, counter in self._counters().items()}

    def _counters(self) -> dict[str, Counter[str]]:
        return {
            "operations": self.operations,
            "publishedBytes": self.published_bytes,
            "publishedMessages": self.published_messages,
            "deliveredBytes": self.delivered_bytes,
            "deliveredMessages": self.delivered_messages,
        }
