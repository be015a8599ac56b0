"""The `runs` collection: who may run a task now, and how it ended. One document a run, its id known before it starts.

The first to create the document runs; the lease in it tells when its process counts as crashed. Every later write is
conditional on the document being as it was read, so that of two processes that believe to hold the run one loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from google.cloud.firestore_v1.base_query import FieldFilter

from agent_mesh.agents.records import (
    Outcome,
    Progress,
    RunRecord,
    RunState,
    outcome_fields,
    progress_fields,
    record_from,
)
from agent_mesh.budgets import Budgets, Reservation
from agent_mesh.contracts.problems import IdempotencyConflict
from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.firestore import Exists, FirestoreClient, LostRace, Missing, firestore_errors, until_settled

COLLECTION: Final = "runs"


@dataclass(frozen=True)
class WantedRun:
    """A run that somebody asks for. `reservation` is set where the agent itself has to reserve: a direct call."""

    run_id: str
    agent: str
    caller: str
    attempt: int = 1
    fingerprint: str = ""
    reservation: Reservation | None = None
    ttl: float | None = None
    """Unix seconds; a run is kept at least as long as the task that may still come back to it."""


@dataclass(frozen=True)
class Claim:
    """The answer to a claim: `won`, or the run as somebody else has it (`finished`, or alive elsewhere)."""

    run: RunRecord
    won: bool


class RunStore:
    """Reads and writes runs."""

    def __init__(
        self, database: FirestoreClient, budgets: Budgets, clock: Clock, lease_s: float, retention_days: int
    ) -> None:
        """A lease lasts `lease_s` seconds; finished runs are kept `retention_days`."""
        self._database = database
        self._budgets = budgets
        self._clock = clock
        self.lease_s = lease_s
        self._kept = timedelta(days=retention_days)

    def get(self, run_id: str) -> RunRecord | None:
        """Return a run, None if nobody ever had it."""
        return self.get_many([run_id]).get(run_id)

    def get_many(self, run_ids: Sequence[str]) -> dict[str, RunRecord]:
        """Return those of the runs that exist, by id."""
        references = [self._document(run_id) for run_id in run_ids]
        with firestore_errors():
            found = list(self._database.client.get_all(references)) if references else []
        return {each.id: record_from(each.id, each.to_dict() or {}, each.update_time) for each in found if each.exists}

    def claim(self, wanted: WantedRun, refusal: Outcome | None = None) -> Claim:
        """Take the run, or learn who has it. With `refusal` it is taken only to be finished so: it never starts.

        Raises `IdempotencyConflict` if the run exists for another request.
        """
        state: dict[str, object] = (
            {"state": RunState.RUNNING.value} if refusal is None else outcome_fields(refusal, self._clock.now())
        )
        return until_settled(lambda: self._claim_once(wanted, refusal, state))

    def park(self, wanted: WantedRun) -> None:
        """Note that the run was delivered while its agent is paused; one that is alive or finished stays as it is."""

        def once() -> None:
            try:
                self._create(wanted, {"state": RunState.PARKED.value, "attempt": 0})
            except Exists:
                existing = self.get(wanted.run_id)
                if existing and existing.state is not RunState.FINISHED and not existing.alive(self._clock.now()):
                    self._update(existing, {"state": RunState.PARKED.value, "leaseUntil": None})

        until_settled(once)

    def renew(self, run: RunRecord) -> RunRecord:
        """Lengthen the lease of a run that we hold; raise `LostRace` if it is not ours any more."""
        return self._update(run, {"leaseUntil": moment(self._clock.now() + self.lease_s)})

    def report(self, run: RunRecord, progress: Sequence[Progress]) -> RunRecord:
        """Store progress reports and lengthen the lease; raise `LostRace` if the run is not ours any more."""
        lease = moment(self._clock.now() + self.lease_s)
        return self._update(run, {"progress": [progress_fields(entry) for entry in progress], "leaseUntil": lease})

    def finish(self, run: RunRecord, outcome: Outcome, progress: Sequence[Progress] = ()) -> RunRecord:
        """Store how our run ended and settle what it had reserved; raise `LostRace` if it is not ours any more."""
        fields = outcome_fields(outcome, self._clock.now()) | _progress(progress) | {"reservedCents": 0}
        return self._update(run, fields, actual_cents=outcome.cost_cents)

    def wait(self, run: RunRecord, fault: TaskFault, progress: Sequence[Progress] = ()) -> RunRecord:
        """Give our run back after an attempt that may be repeated; raise `LostRace` if it is not ours any more."""
        return self._update(run, _waiting(fault) | _progress(progress), actual_cents=0)

    def fence(self, wanted: WantedRun, outcome: Outcome) -> RunRecord:
        """Make sure that the run never starts again; return it as it then is: finished, or alive elsewhere."""

        def once() -> RunRecord:
            existing = self.get(wanted.run_id)
            if existing is None:
                return self._create(wanted, outcome_fields(outcome, self._clock.now()) | {"attempt": 0})
            if existing.state is RunState.FINISHED or existing.alive(self._clock.now()):
                return existing
            return self.finish(existing, outcome, existing.progress)

        return until_settled(once)

    def request_cancel(self, run_id: str) -> None:
        """Tell a running handler that its task is no longer wanted."""
        with firestore_errors():
            self._document(run_id).update({"cancelRequested": True})

    def parked(self, agent: str, limit: int) -> list[str]:
        """Return ids of the runs that were delivered while the agent was paused."""
        query = (
            self._database.collection(COLLECTION)
            .where(filter=FieldFilter("agent", "==", agent))
            .where(filter=FieldFilter("state", "==", RunState.PARKED.value))
            .select([])
            .limit(limit)
        )
        with firestore_errors():
            return [snapshot.id for snapshot in query.get()]

    def free_abandoned(self, limit: int) -> int:
        """Give back what direct runs reserved whose process crashed; return how many there were."""
        now = self._clock.now()
        query = self._database.collection(COLLECTION).where(filter=FieldFilter("dueAt", "<=", moment(now)))
        with firestore_errors():
            found = query.order_by("dueAt").limit(limit).get()
        freed = 0
        for snapshot in found:
            run = record_from(snapshot.id, snapshot.to_dict() or {}, snapshot.update_time)
            try:
                if run.alive(now):
                    self._update(run, {"dueAt": moment(now + 2 * self.lease_s)})
                else:
                    self.wait(
                        run,
                        TaskFault(code="crashed", detail="The run's process ended without a result.", retryable=True),
                    )
                    freed += 1
            except LostRace:
                continue
        return freed

    def _claim_once(self, wanted: WantedRun, refusal: Outcome | None, state: dict[str, object]) -> Claim:
        try:
            return Claim(self._create(wanted, state, reserve=refusal is None), won=True)
        except Missing:  # the day's first reservation
            if wanted.reservation:
                self._budgets.open(wanted.agent, wanted.reservation.budget_id, self._clock.now())
            raise
        except Exists:
            existing = self.get(wanted.run_id)
        if existing is None:
            raise LostRace
        if wanted.fingerprint and existing.fingerprint and wanted.fingerprint != existing.fingerprint:
            detail = "This idempotencyKey was used with another payload; send a new key with a new request."
            raise IdempotencyConflict(detail)
        if existing.state is RunState.FINISHED or existing.alive(self._clock.now()):
            return Claim(existing, won=False)
        return Claim(self._reclaim(existing, wanted, refusal, state), won=True)

    def _reclaim(
        self, existing: RunRecord, wanted: WantedRun, refusal: Outcome | None, state: dict[str, object]
    ) -> RunRecord:
        now = self._clock.now()
        attempt = max(existing.attempt + 1, wanted.attempt)
        fields = {"attempt": attempt, "startedAt": moment(now), "fingerprint": wanted.fingerprint, **state}
        if refusal is not None:
            return self._update(existing, fields | {"reservedCents": 0}, actual_cents=0)
        lease = moment(now + self.lease_s)
        reserve = wanted.reservation if not (existing.reservation and existing.reservation.cents) else None
        fields |= {"leaseUntil": lease} | self._hold(reserve)
        return self._update(existing, fields, reserve=reserve)

    def _create(self, wanted: WantedRun, fields: dict[str, object], *, reserve: bool = False) -> RunRecord:
        now = self._clock.now()
        running = fields["state"] == RunState.RUNNING.value
        document = {
            "agent": wanted.agent,
            "caller": wanted.caller,
            "attempt": max(1, wanted.attempt),
            "fingerprint": wanted.fingerprint,
            "startedAt": moment(now),
            "leaseUntil": moment(now + self.lease_s) if running else None,
            "expireAt": moment(max(now, wanted.ttl or now)) + self._kept,
            **(self._hold(wanted.reservation) if reserve else {}),
            **fields,
        }
        batch = self._database.batch()
        if reserve and wanted.reservation:
            self._budgets.add_reservation(batch, wanted.reservation)
        batch.create(self._document(wanted.run_id), document)
        with firestore_errors():
            results = batch.commit()
        run = record_from(wanted.run_id, document, results[-1].update_time)
        return self._within_budget(run, wanted.reservation, results) if reserve else run

    def _update(
        self,
        run: RunRecord,
        fields: dict[str, object],
        *,
        actual_cents: int | None = None,
        reserve: Reservation | None = None,
    ) -> RunRecord:
        batch = self._database.batch()
        if reserve:
            self._budgets.add_reservation(batch, reserve)
        guard = self._database.unchanged_since(run.update_time)
        reference = self._document(run.run_id)
        batch.update(reference, fields, option=guard)
        if actual_cents is not None and run.reservation:
            self._budgets.add_settlement(batch, run.reservation, actual_cents)
        with firestore_errors():
            results = batch.commit()
        written = _after(run, fields, results[1 if reserve else 0].update_time)
        return self._within_budget(written, reserve, results) if reserve else written

    def _within_budget(self, run: RunRecord, reservation: Reservation | None, results: list[Any]) -> RunRecord:
        """Give the reservation back and refuse if the budget does not allow it."""
        if reservation is None:
            return run
        crash_point("agent.claimed")
        state = self._budgets.state_after(results[0])
        if not state.overdrawn:
            return run
        refusal = state.refusal(run.agent, reservation.cents)
        fault = TaskFault(code=refusal.code, detail=refusal.detail, retryable=True)
        self._update(run, _waiting(fault) | {"fingerprint": ""}, actual_cents=0)  # nothing ran: the key stays free
        raise refusal

    def _hold(self, reservation: Reservation | None) -> dict[str, object]:
        """Return the fields by which the sweep finds a reservation whose process crashed."""
        if reservation is None:
            return {}
        due = moment(self._clock.now() + 2 * self.lease_s)
        return {"budgetId": reservation.budget_id, "reservedCents": reservation.cents, "dueAt": due}

    def _document(self, run_id: str) -> Any:  # noqa: ANN401  # the client's reference type is untyped
        return self._database.collection(COLLECTION).document(run_id)


def _waiting(fault: TaskFault) -> dict[str, object]:
    return {
        "state": RunState.WAITING.value,
        "leaseUntil": None,
        "lastFault": fault.model_dump(),
        "dueAt": None,
        "reservedCents": 0,
    }


def _progress(progress: Sequence[Progress]) -> dict[str, object]:
    return {"progress": [progress_fields(entry) for entry in progress]} if progress else {}


def _after(run: RunRecord, fields: dict[str, object], update_time: object) -> RunRecord:
    """Return the run as a write left it, without reading it again."""
    before: dict[str, object] = {
        "agent": run.agent,
        "caller": run.caller,
        "state": run.state.value,
        "attempt": run.attempt,
        "leaseUntil": run.lease_until,
        "startedAt": run.started_at,
        "cancelRequested": run.cancel_requested,
        "fingerprint": run.fingerprint,
        "budgetId": run.reservation.budget_id if run.reservation else None,
        "reservedCents": run.reservation.cents if run.reservation else 0,
        "progress": [progress_fields(entry) for entry in run.progress],
    }
    return record_from(run.run_id, before | fields, update_time)
