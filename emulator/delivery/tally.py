"""What was delivered for one subscription, counted the same way whoever delivers."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Tally:
    """Counts since delivery began."""

    filtered: int = 0
    pushed: int = 0
    acked: int = 0
    failed: int = 0
    dead_lettered: int = 0

    def push_ended(self, *, acked: bool) -> None:
        """One push was answered, or was not."""
        self.pushed += 1
        self.acked += acked
        self.failed += not acked

    def report(self, leased: int, in_flight: int) -> dict[str, int]:
        """The counts, with how many messages are not done yet and how many of them are being pushed now."""
        return {"leased": leased, "inFlight": in_flight, **asdict(self)}
