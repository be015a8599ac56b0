"""Calls the schedules as Cloud Scheduler does, with an ID token, at their local interval.

Source: https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs#httptarget.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import urllib3

from emulator.delivery.push import Tokens
from emulator.events import Report
from emulator.functions import FunctionAddress
from emulator.identities import Identities
from emulator.topology import Topology

_REDIRECT: Final = 300


@dataclass(frozen=True, slots=True)
class Job:
    """One schedule in use; ``every`` and ``deadline`` are seconds."""

    name: str
    url: str
    audience: str
    service_account: str
    every: float
    deadline: float


def jobs(topology: Topology, identities: Identities, running: Mapping[str, FunctionAddress]) -> list[Job]:
    """The jobs whose role runs."""
    return [
        Job(
            name=name,
            url=running[schedule.role].url + schedule.path,
            audience=running[schedule.role].audience,
            service_account=identities.schedule(name),
            every=topology.interval(name),
            deadline=topology.roles[schedule.role].timeout_seconds,
        )
        for name, schedule in topology.schedules.items()
        if schedule.role in running
    ]


class Scheduler:
    """One thread per job, so that a job never overlaps itself nor delays another."""

    def __init__(self, wanted: list[Job], tokens: Tokens, report: Report) -> None:
        """Idle until :meth:`start`; failed calls are reported."""
        self._tokens = tokens
        self._report = report
        self._http = urllib3.PoolManager(maxsize=4, retries=False)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(job,), name=f"schedule-{job.name}", daemon=True)
            for job in wanted
        ]

    def start(self) -> None:
        """Make the first calls after one interval."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Make no further call; a running one may still end."""
        self._stopping.set()

    def call(self, job: Job) -> int:
        """Call a job now; returns the HTTP status, 0 when there was no answer."""
        headers = {
            "Authorization": f"Bearer {self._tokens(job.audience, job.service_account)}",
            "Content-Type": "application/json",
            "User-Agent": "Google-Cloud-Scheduler",
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": job.name,
            "X-CloudScheduler-ScheduleTime": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        }
        timeout = urllib3.Timeout(connect=2.0, read=job.deadline)
        try:
            answer = self._http.request("POST", job.url, body=b"{}", headers=headers, timeout=timeout)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._failed(job, 0, type(error).__name__)
            return 0
        if answer.status >= _REDIRECT:
            self._failed(job, answer.status, "")
        return answer.status

    def _repeat(self, job: Job) -> None:
        while not self._stopping.wait(job.every):
            self.call(job)

    def _failed(self, job: Job, status: int, failure: str) -> None:
        if not self._stopping.is_set():
            self._report("schedule.failed", schedule=job.name, status=status, failure=failure)
