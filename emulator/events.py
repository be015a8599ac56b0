"""Structured logs: one JSON object per line, never a token and never a payload."""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
from pathlib import Path
from typing import Final, Protocol

_lock: Final = threading.Lock()


class Report(Protocol):
    """Takes one event and its fields."""

    def __call__(self, event: str, **fields: object) -> None:
        """Write it."""
        ...


def event_line(event: str, fields: dict[str, object]) -> str:
    """One event as a line of JSON, with the time in UTC."""
    time = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, "event": event, **fields}, ensure_ascii=False, default=str) + "\n"


def log_event(event: str, **fields: object) -> None:
    """Write one event to standard error."""
    with _lock:
        sys.stderr.write(event_line(event, fields))
        sys.stderr.flush()


def events_to(file: Path) -> Report:
    """Events that are appended to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()

    def report(event: str, **fields: object) -> None:
        with _lock, file.open("a") as log:
            log.write(event_line(event, fields))

    return report
