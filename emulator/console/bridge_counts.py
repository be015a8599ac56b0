"""The bridge's counts of deliveries, as it shows them over HTTP."""

from __future__ import annotations

from typing import Final

import urllib3

from emulator.console.sources import Counts, Deliveries
from emulator.errors import EmulatorError

_SECONDS: Final = 1.0


def counts_at(url: str) -> Deliveries:
    """The counts at this URL. The call raises EmulatorError when the bridge does not answer."""
    http = urllib3.PoolManager(maxsize=2, retries=False)

    def counts() -> Counts:
        try:
            response = http.request("GET", url, timeout=_SECONDS)
            counts: Counts = response.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise EmulatorError(f"the bridge at {url} does not answer: {error}") from error
        return counts

    return counts
