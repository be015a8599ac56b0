"""What an instance does now and then while it has streams: it says who listens, and looks for what never arrived."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent_mesh.contracts.problems import MeshError
from agent_mesh.platform.logs import log
from agent_mesh.relay.presence import Patterns, PresenceBoard

_THREAD_NAME: Final = "relay-beat"


@dataclass(frozen=True)
class Beats:
    """How often, in seconds."""

    presence_changed_s: float = 2.0
    presence_alive_s: float = 60.0
    catch_up_s: float = 60.0
    """A message whose publisher died before it told of it waits so long at most."""


DEFAULT_BEATS: Final = Beats()


class Beat:
    """The open streams of an instance, counted, and the thread that lives while there are any."""

    def __init__(self, board: PresenceBoard, catch_up: Callable[[], object], beats: Beats = DEFAULT_BEATS) -> None:
        """Write on `board`; `catch_up` may raise a `MeshError`."""
        self._board = board
        self._catch_up = catch_up
        self._beats = beats
        self._lock = threading.Lock()
        self._streams: Counter[Patterns] = Counter()
        self._running = False
        self._writing = threading.Lock()
        self._written: dict[Patterns, int] = {}
        self._written_at = 0.0
        self._last_left = threading.Event()

    @property
    def streams(self) -> dict[Patterns, int]:
        """How many streams there are over which patterns."""
        with self._lock:
            return dict(self._streams)

    def join(self, patterns: Patterns) -> None:
        """A stream begins."""
        with self._lock:
            self._streams[patterns] += 1
            if self._running:
                return
            self._running = True
            self._last_left.clear()
        threading.Thread(target=self._run, name=_THREAD_NAME, daemon=True).start()

    def leave(self, patterns: Patterns) -> None:
        """A stream has ended; of the last one the thread may get no CPU any more, so this one writes."""
        with self._lock:
            self._streams -= Counter({patterns: 1})
            last = not self._streams
        if last:
            self._last_left.set()
            self._write_presence()

    def _run(self) -> None:
        caught_up_at = time.monotonic()
        while self._wanted():
            self._last_left.wait(self._beats.presence_changed_s)
            self._write_presence()
            if time.monotonic() - caught_up_at >= self._beats.catch_up_s:
                caught_up_at = time.monotonic()
                self._tried(self._catch_up)

    def _wanted(self) -> bool:
        with self._lock:
            self._running = bool(self._streams)
            if self._running:
                self._last_left.clear()
            return self._running

    def _write_presence(self) -> None:
        with self._writing:
            streams, now = self.streams, time.monotonic()
            alive_due = bool(streams) and now - self._written_at >= self._beats.presence_alive_s
            if (streams != self._written or alive_due) and self._tried(lambda: self._board.write(streams)):
                self._written, self._written_at = streams, now

    @staticmethod
    def _tried(step: Callable[[], object]) -> bool:
        try:
            step()
        except MeshError as error:
            log("a beat of the relay was left out", reason=error.detail)
            return False
        except Exception as error:  # noqa: BLE001 - the thread goes on: the next beat tries again
            log("defect in a beat of the relay", level=40, failed=True, kind=type(error).__name__)
            return False
        return True
