"""A run in this process's hands, and `Run`: what its handler sees of it."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from typing import Final

from agent_mesh.agents.errors import RunCancelled
from agent_mesh.agents.records import PROGRESS_LIMIT, Outcome, Progress, RunRecord, RunState
from agent_mesh.agents.runs import RunStore
from agent_mesh.contracts.problems import Unavailable
from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.firestore import LostRace, until_settled
from agent_mesh.platform.logs import log

_STORE_EVERY_S: Final = 1.0
"""A document takes about one write a second for long; reports that come faster are stored together."""


class LostLease(Exception):  # an event: the run went on elsewhere
    """Another process took the run over; what this one still has to say about it is refused."""


class HeldRun:
    """Guards the writes of one run: progress, lease renewals and the outcome come from two threads."""

    def __init__(self, store: RunStore, record: RunRecord, clock: Clock) -> None:
        """Take over `record`, as the claim left it."""
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._progress: list[Progress] = list(record.progress)
        self._stored_at = self._asked_at = clock.now()
        self._record = record

    @property
    def record(self) -> RunRecord:
        """The run as it was last read or written."""
        return self._record

    def renew(self) -> None:
        """Lengthen the lease. Called by the lease keeper's thread: it must not raise."""
        try:
            self._write(self._store.renew)
        except (LostLease, Unavailable) as error:
            log("a lease was not renewed", run=self._record.run_id, reason=str(error))

    def report(self, message: str, percent: float | None) -> None:
        """Note progress; store it if the last store is a second ago. An outage of the database fails no handler."""
        entry = Progress(moment(self._clock.now()), message, percent)
        self._progress = [*self._progress, entry][-PROGRESS_LIMIT:]
        if self._clock.now() - self._stored_at >= _STORE_EVERY_S:
            self._stored_at = self._clock.now()
            try:
                self._write(lambda record: self._store.report(record, self._progress))
            except Unavailable as error:
                log("progress was not stored yet", run=self._record.run_id, reason=error.detail)

    def cancel_requested(self) -> bool:
        """Ask the database, at most once a second."""
        if not self._record.cancel_requested and self._clock.now() - self._asked_at >= _STORE_EVERY_S:
            self._asked_at = self._clock.now()
            with self._lock:
                self._refresh()
        return self._record.cancel_requested

    def finish(self, outcome: Outcome) -> None:
        """Store how the run ended; raise `LostLease` if it is not ours to end any more."""
        self._write(lambda record: self._store.finish(record, outcome, self._progress))

    def wait(self, fault: TaskFault) -> None:
        """Give the run back for another attempt; raise `LostLease` if it is not ours any more."""
        self._write(lambda record: self._store.wait(record, fault, self._progress))

    def _write(self, write: Callable[[RunRecord], RunRecord]) -> None:
        def once() -> RunRecord:
            try:
                return write(self._record)
            except LostRace:
                self._refresh()
                raise

        with self._lock:
            self._record = until_settled(once)

    def _refresh(self) -> None:
        """Read the run again; raise `LostLease` unless this attempt still runs."""
        now = self._store.get(self._record.run_id)
        if now is None or now.state is not RunState.RUNNING or now.attempt != self._record.attempt:
            message = f"run {self._record.run_id} is no longer at attempt {self._record.attempt}"
            raise LostLease(message)
        self._record = now


class Run:
    """What a handler may know of its run, and say about it."""

    def __init__(
        self, held: HeldRun, clock: Clock, *, ttl: float | None, budget_cents: int | None, trace_id: str
    ) -> None:
        """`ttl` is Unix seconds, `budget_cents` what the run may cost; None where the sender set no limit."""
        self._held = held
        self._clock = clock
        self._charged: int | None = None
        self.ttl = ttl
        self.budget_cents = budget_cents
        self.trace_id = trace_id

    @property
    def run_id(self) -> str:
        """The run's id; the task's id where a task asked for it.

        Stable over attempts: a key for effects of your own.
        """
        return self._held.record.run_id

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return self._held.record.attempt

    @property
    def remaining_s(self) -> float:
        """Seconds until the result would come too late; infinite without a ttl."""
        return float("inf") if self.ttl is None else max(0.0, self.ttl - self._clock.now())

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the task to be cancelled; asks the database at most once a second."""
        return self._held.cancel_requested()

    def stop_if_cancelled(self) -> None:
        """Raise `RunCancelled` if somebody asked for the task to be cancelled."""
        if self.cancelled:
            raise RunCancelled

    def progress(self, message: str, *, percent: float | None = None) -> None:
        """Say how far the work is; it shows in the task's timeline."""
        storable = message[:500].encode(errors="replace").decode()
        self._held.report(storable, percent)

    def charge(self, cents: int) -> None:
        """Add to the price of this run; at most the agent's `max_cost_cents` in sum."""
        if cents < 0:
            message = f"charge() takes cents >= 0, not {cents}"
            raise ValueError(message)
        self._charged = (self._charged or 0) + operator.index(cents)  # money is never a float

    @property
    def charged_cents(self) -> int | None:
        """What the handler charged, None if it left the price to the agent's default."""
        return self._charged
