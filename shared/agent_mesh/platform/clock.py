"""The one clock. Everything that asks for the time gets a `Clock`, so that a test can set it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Return Unix seconds, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return Unix seconds, UTC."""
        return time.time()


def moment(unix_seconds: float) -> datetime:
    """Return Unix seconds as an aware UTC datetime with whole milliseconds, as every stored time has."""
    milliseconds = int(unix_seconds * 1000)
    return datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)


def rfc3339(at: datetime) -> str:
    """Return an aware datetime as RFC 3339 with milliseconds and `Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
