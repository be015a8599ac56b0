"""Keeps the leases of this process's runs alive while their handlers work, and lets them end when the process dies.

A renewal runs in the context of its run, so that its log and its calls carry the run's trace.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context

from agent_mesh.platform.logs import log


class LeaseKeeper:
    """One background thread for all runs of a process.

    It sleeps while there are none, so an idle function costs nothing.
    """

    def __init__(self, interval_s: float) -> None:
        """Renew every `interval_s` seconds."""
        self._interval_s = interval_s
        self._condition = threading.Condition()
        self._due: dict[int, tuple[float, float, Callable[[], None], Context]] = {}
        self._next_key = 0
        self._asleep = False
        self._thread: threading.Thread | None = None

    def keep(self, renew: Callable[[], None], at_most_s: float) -> Callable[[], None]:
        """Call `renew` every interval for `at_most_s` seconds or until the returned function is called."""
        started = time.monotonic()
        with self._condition:
            self._next_key += 1
            key = self._next_key
            self._due[key] = (started + self._interval_s, started + at_most_s, renew, copy_context())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._thread.start()
            elif self._asleep:  # else it looks in time: nothing is due sooner than what was there before
                self._condition.notify()

        def release() -> None:
            with self._condition:
                self._due.pop(key, None)

        return release

    def _run(self) -> None:
        while True:
            for renew, context in self._wait_for_due():
                try:
                    context.run(renew)
                except Exception as error:  # noqa: BLE001  # one run's fault must not end the leases of all the others
                    log("a lease was not renewed", level=40, failed=True, kind=type(error).__name__)

    def _wait_for_due(self) -> list[tuple[Callable[[], None], Context]]:
        with self._condition:
            while not self._due:
                self._asleep = True
                self._condition.wait()
            self._asleep = False
            self._condition.wait(max(0.0, min(due for due, *_ in self._due.values()) - time.monotonic()))
            now = time.monotonic()
            ready = [key for key, (due, *_) in self._due.items() if due <= now]
            renewals = []
            for key in ready:
                _, until, renew, context = self._due.pop(key)
                if now < until:
                    self._due[key] = (now + self._interval_s, until, renew, context)
                    renewals.append((renew, context))
            return renewals
