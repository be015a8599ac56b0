"""The one price list: what Google asks for what the embedded cloud counts and the benchmarks estimate.

Prices are list prices in US dollars without free quotas and discounts: the first 10 GiB of Pub/Sub a month and 50,000
reads, 20,000 writes and 20,000 deletes of Firestore a day cost nothing in production and cost their price here.

Money is an integer of picodollars (10^-12 USD): a read costs 0.3 millionths of a dollar and a byte of Pub/Sub 0.00004,
so that cents and even millionths would round both away. It is shown as millionths of a dollar, as text with the six
digits that follow the point, which loses nothing. Where a price does not divide evenly (40 dollars for 2^40 bytes),
the half picodollar is rounded up once for each line that is shown: counts add up exactly, and the price of a total is
the price of the total count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

VERSION: Final = "2026-11-20"
"""Changes with every change of a price."""

PICO: Final = 1_000_000_000_000
_PICO_PER_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """``pico_usd`` for ``per`` units, where it is published, when that was last looked at, and by which way."""

    pico_usd: int
    per: int
    page: str
    noted: str
    seen: str

    def of(self, units: int) -> int:
        """Picodollars for so many units."""
        return (units * self.pico_usd * 2 + self.per) // (2 * self.per)

    @property
    def dollars(self) -> str:
        """The price of ``per`` units, as a price list writes it."""
        whole, fraction = divmod(self.pico_usd, PICO)
        digits = f"{fraction:012d}".rstrip("0")
        return f"${whole}" if not digits else f"${whole}.{digits:0<2}"


@dataclass(frozen=True, slots=True)
class FirestorePrices:
    """Standard edition, in one location; each for 100,000 documents."""

    reads: Price
    writes: Price
    deletes: Price

    def of(self, reads: int, writes: int, deletes: int) -> int:
        """Picodollars for so many documents."""
        return self.reads.of(reads) + self.writes.of(writes) + self.deletes.of(deletes)


_FIRESTORE_PAGE: Final = "https://cloud.google.com/firestore/pricing"
_PUBSUB_PAGE: Final = "https://cloud.google.com/pubsub/pricing"
_RUN_PAGE: Final = "https://cloud.google.com/run/pricing"
_QUOTED: Final = "quoted by third parties"
_RUN_NOTED: Final = "2026-09-19"


def _documents(usd_cents: int, seen: str) -> Price:
    return Price(usd_cents * PICO // 100, 100_000, _FIRESTORE_PAGE, VERSION, seen)


FIRESTORE: Final[Mapping[str, FirestorePrices]] = {
    "us-central1": FirestorePrices(_documents(3, _QUOTED), _documents(9, _QUOTED), _documents(1, _QUOTED)),
    "nam5": FirestorePrices(_documents(6, _QUOTED), _documents(18, _QUOTED), _documents(2, _QUOTED)),
}
"""By location. TTL deletes cost what deletes cost."""

DEFAULT_LOCATION: Final = "us-central1"

PUBSUB_TIB: Final = Price(40 * PICO, 2**40, _PUBSUB_PAGE, "2026-09-20", "from a stored copy of the page")
"""2^40 bytes published or delivered, in every region; a publish, pull or push request has at least 1,000."""

RUN_REQUEST: Final = Price(40 * PICO // 100, 1_000_000, _RUN_PAGE, _RUN_NOTED, _QUOTED)
"""A million requests; request-based billing, tier 1 regions."""

RUN_VCPU_SECOND: Final = Price(24 * PICO // 1_000_000, 1, _RUN_PAGE, _RUN_NOTED, _QUOTED)
"""While a request is served."""

RUN_GIB_SECOND: Final = Price(25 * PICO // 10_000_000, 1, _RUN_PAGE, _RUN_NOTED, _QUOTED)
"""The same for memory."""


def firestore_prices(location: str) -> FirestorePrices:
    """The prices of a location. Raises ValueError for one that is not in the list."""
    found = FIRESTORE.get(location)
    if found is None:
        raise ValueError(f"there are no prices for {location!r}; there are for {', '.join(FIRESTORE)}")
    return found


def micro_usd(pico_usd: int) -> str:
    """Picodollars as millionths of a dollar, exactly: ``4.800000``."""
    whole, fraction = divmod(pico_usd, _PICO_PER_MICRO)
    return f"{whole}.{fraction:06d}"


def pico_usd(micro_usd: str) -> int:
    """The opposite of :func:`micro_usd`."""
    whole, _, fraction = micro_usd.partition(".")
    return int(whole) * _PICO_PER_MICRO + int(fraction)
