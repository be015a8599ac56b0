"""What a bill costs at the list prices of `emulator.prices`, in picodollars."""

from __future__ import annotations

from typing import Final

from benchmarks.recorder import Bill
from emulator.prices import PUBSUB_TIB, RUN_GIB_SECOND, RUN_REQUEST, RUN_VCPU_SECOND, firestore_prices

_MICRO: Final = 1_000_000
"""Picodollars for a task are as many dollars for a million tasks, times this."""

_SHORTEST: Final = 10
"""Instance time is rounded up to 100 ms: so many requests take a second."""

_HALF: Final = 2
"""Each instance has 1 vCPU and 0.5 GiB."""


def firestore_pico_usd(bill: Bill, location: str) -> int:
    """Return the price of a bill's document operations; refused writes as if they had been made."""
    return firestore_prices(location).of(bill.reads, bill.writes + bill.refused_writes, bill.deletes)


def pubsub_pico_usd(bill: Bill) -> int:
    """Return the price of what was published and delivered."""
    return PUBSUB_TIB.of(bill.publish_bytes + bill.delivery_bytes)


def run_pico_usd(bill: Bill) -> int:
    """Return the price of the requests at the worst: each alone on its instance and no longer than 100 ms."""
    instance = (RUN_VCPU_SECOND.of(bill.requests) + RUN_GIB_SECOND.of(bill.requests) // _HALF) // _SHORTEST
    return RUN_REQUEST.of(bill.requests) + instance


def dollars_per_million(pico_usd: int, tasks: int) -> float:
    """Return the price of a million tasks, to be shown."""
    return round(pico_usd / tasks / _MICRO, 4)
