"""Values as a person reads them: money, moments, durations, states."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

STATUS_STYLES: Final = {
    "accepted": "cyan",
    "delivered": "cyan",
    "running": "blue",
    "succeeded": "green",
    "failed": "red",
    "expired": "yellow",
    "cancelled": "bright_black",
    "rejected": "magenta",
    "dead": "bold red",
}

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def printable(text: str) -> str:
    """Return text of others without what would steer the terminal."""
    return _CONTROL.sub("�", text)


def cents(amount: int) -> str:
    """Return money as it is counted here: `5 ¢`."""
    return f"{amount} ¢"


def duration(seconds: float) -> str:
    """Return a duration in the unit that fits: `8 ms`, `1.25 s`, `3 min`, `2 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004  # two digits tell enough
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} d"


def parsed(moment: str) -> datetime | None:
    """Return an RFC 3339 moment, None for what is none."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def relative(moment: str, now: datetime) -> str:
    """Return how long ago an RFC 3339 moment was, or how far away it is."""
    at = parsed(moment)
    if at is None:
        return printable(moment)
    seconds = (now - at).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def age(moment: str, now: datetime) -> str:
    """Return how old an RFC 3339 moment is."""
    return relative(moment, now).removesuffix(" ago")


def between(start: str, end: str | None) -> str:
    """Return the duration between two RFC 3339 moments, a dash while the second is missing."""
    first, last = parsed(start), parsed(end or "")
    if first is None or last is None:
        return "-"
    return duration(max(0.0, (last - first).total_seconds()))


def local_time(moment: str) -> str:
    """Return an RFC 3339 moment as this machine's time of day, to the millisecond."""
    at = parsed(moment)
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3] if at else printable(moment)
