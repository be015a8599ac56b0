"""Exponential backoff between two deliveries of a message.

Pub/Sub doubles from the minimum to the maximum of the retry policy:
https://cloud.google.com/pubsub/docs/handling-failures#exponential_backoff.
"""

from __future__ import annotations

from dataclasses import dataclass

_DOUBLINGS_ENOUGH = 40


@dataclass(frozen=True, slots=True)
class Backoff:
    """A retry policy, in seconds."""

    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        """Raise ValueError unless 0 <= minimum <= maximum."""
        if not 0 <= self.minimum <= self.maximum:
            message = f"backoff wants 0 <= minimum <= maximum, not {self.minimum} and {self.maximum}"
            raise ValueError(message)

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many failed deliveries (1 is the first)."""
        doublings = min(max(failures - 1, 0), _DOUBLINGS_ENOUGH)
        return float(min(self.minimum * 2**doublings, self.maximum))
