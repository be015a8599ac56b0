"""List prices in US dollars, each with the page it stands on, without free quotas.

Noted on 2026-11-20 without access to the live pages: Pub/Sub's from a stored copy of its page, Firestore's from third
parties that quote it, us-central1 deletes and Cloud Run's from memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.recorder import Bill

NOTED_ON: Final = "2026-11-20"
_MILLION: Final = 1_000_000


@dataclass(frozen=True)
class FirestorePrices:
    """https://cloud.google.com/firestore/pricing, Standard edition, dollars for 100,000 documents."""

    location: str
    reads: float
    writes: float
    deletes: float

    def dollars(self, bill: Bill) -> float:
        """Return the price of a bill's document operations; refused writes as if they had been made."""
        writes = bill.writes + bill.refused_writes
        return (bill.reads * self.reads + writes * self.writes + bill.deletes * self.deletes) / 100_000


US_CENTRAL1: Final = FirestorePrices("us-central1", reads=0.03, writes=0.09, deletes=0.01)
NAM5: Final = FirestorePrices("nam5", reads=0.06, writes=0.18, deletes=0.02)

PUBSUB_TIB: Final = 40.0
"""https://cloud.google.com/pubsub/pricing: dollars a TiB, at least 1,000 bytes a publish or push request."""

REQUESTS_MILLION: Final = 0.40
"""https://cloud.google.com/run/pricing, request-based billing, tier 1 regions: dollars a million requests."""

VCPU_SECOND: Final = 0.000024
"""The same page: dollars a vCPU-second while a request is served."""

GIB_SECOND: Final = 0.0000025
"""The same page: dollars a GiB-second."""

_VCPUS: Final = 1.0
_GIB: Final = 0.5
_SHORTEST_S: Final = 0.1
"""Instance time is rounded up to 100 ms."""


def pubsub_dollars(bill: Bill) -> float:
    """Return the price of what was published and delivered."""
    return (bill.publish_bytes + bill.delivery_bytes) / 2**40 * PUBSUB_TIB


def run_dollars(bill: Bill) -> float:
    """Return the price of the requests at the worst: each alone on its instance and no longer than 100 ms."""
    second = _VCPUS * VCPU_SECOND + _GIB * GIB_SECOND
    return bill.requests * (REQUESTS_MILLION / _MILLION + _SHORTEST_S * second)


def per_million(dollars: float, tasks: int) -> float:
    """Return the price of a million tasks."""
    return dollars / tasks * _MILLION
