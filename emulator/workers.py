"""Threads for blocking calls that never keep a process from ending (unlike ThreadPoolExecutor)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Job = Callable[[], None]


class Workers:
    """At most ``most`` daemon threads, started as they are needed and kept."""

    def __init__(self, name: str, most: int) -> None:
        """Start none yet."""
        self._name = name
        self._most = most
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._unfinished = 0

    def submit(self, job: Job) -> None:
        """Run the job on a free thread; it must not raise."""
        with self._lock:
            self._unfinished += 1
            if self._unfinished > self._started and self._started < self._most:
                self._started += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            job()
            with self._lock:
                self._unfinished -= 1
