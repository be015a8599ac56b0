"""Reserve and settle without a transaction.

A reservation is one blind commit: `used` grows by the most that the run may cost, and the commit itself answers with
the new
total and the limit. Commits have an order, so of racers for the last cents exactly those that fit see a total within
the
limit. Whoever sees more compensates and refuses. The reserved amount stands in the task or run that it is for, which
is created in the same commit: that document is the hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from google.cloud import firestore

from agent_mesh.contracts.problems import BudgetExceeded
from agent_mesh.platform.clock import moment
from agent_mesh.platform.firestore import Exists, FirestoreClient, firestore_errors

COLLECTION: Final = "budgets"
ALERT_PERCENT: Final = (50, 80, 100)
_KEPT: Final = timedelta(days=400)


def day_budget_id(agent: str, unix_seconds: float) -> str:
    """Return the id of the budget that a run of `agent` at this moment is charged to: one a UTC day."""
    return f"{agent}.{moment(unix_seconds):%Y%m%d}"


@dataclass(frozen=True)
class Reservation:
    """An amount taken out of a budget until it is settled. `cents` is an upper bound of what will be charged."""

    budget_id: str
    cents: int


@dataclass(frozen=True)
class BudgetState:
    """What a budget's document says, in cents."""

    used_cents: int
    limit_cents: int

    @property
    def overdrawn(self) -> bool:
        """True while a reservation stands that has to be compensated."""
        return self.used_cents > self.limit_cents

    def reached(self, reserved_cents: int) -> tuple[int, ...]:
        """Return which of 50, 80 and 100 % of the limit the last reservation, of so many cents, reached."""
        before, limit = self.used_cents - reserved_cents, self.limit_cents
        return tuple(mark for mark in ALERT_PERCENT if 100 * before < mark * limit <= 100 * self.used_cents)

    def refusal(self, agent: str, wanted_cents: int) -> BudgetExceeded:
        """Return the error that tells a caller what is left; this state includes the refused reservation."""
        left = max(0, self.limit_cents - self.used_cents + wanted_cents)
        return BudgetExceeded(
            f"Agent {agent} may spend {self.limit_cents} cents a day; {left} are left "
            f"and this run may cost {wanted_cents}."
        )


class Budgets:
    """The `budgets` collection. Writes are added to the caller's batch, so that they commit with its own documents."""

    def __init__(self, database: FirestoreClient, default_limit_cents: int) -> None:
        """Open budgets with `default_limit_cents` at their first use."""
        self._database = database
        self._default_limit_cents = default_limit_cents

    def add_reservation(self, batch: firestore.WriteBatch, reservation: Reservation) -> None:
        """Add the reserving write.

        Commit raises `Missing` if the budget was never opened: `open` it and commit again.
        """
        change = {"usedCents": firestore.Increment(reservation.cents), "limitCents": firestore.Increment(0)}
        batch.update(self._document(reservation.budget_id), change)

    @staticmethod
    def state_after(write_result: Any) -> BudgetState:  # noqa: ANN401  # protobuf WriteResult, untyped in the client
        """Return what the reserving write made of the budget.

        The client sends transforms in the order of field paths.
        """
        limit, used = write_result.transform_results
        return BudgetState(used_cents=used.integer_value, limit_cents=limit.integer_value)

    def add_settlement(self, batch: firestore.WriteBatch, reservation: Reservation, actual_cents: int) -> None:
        """Add the write that replaces the reserved amount by the real one; none is needed when they are equal."""
        if actual_cents != reservation.cents:
            change = {"usedCents": firestore.Increment(actual_cents - reservation.cents)}
            batch.update(self._document(reservation.budget_id), change)

    def open(self, agent: str, budget_id: str, unix_seconds: float) -> None:
        """Create the budget's document if it is not there yet."""
        opened = moment(unix_seconds)
        document = {
            "agent": agent,
            "usedCents": 0,
            "limitCents": self._default_limit_cents,
            "openedAt": opened,
            "expireAt": opened + _KEPT,
        }
        try:
            with firestore_errors():
                self._document(budget_id).create(document)
        except Exists:
            return

    def read(self, budget_id: str) -> BudgetState:
        """Return what a budget's document says; a budget that was never opened is untouched."""
        with firestore_errors():
            fields = self._document(budget_id).get().to_dict() or {}
        return BudgetState(fields.get("usedCents", 0), fields.get("limitCents", self._default_limit_cents))

    def _document(self, budget_id: str) -> firestore.DocumentReference:
        return self._database.collection(COLLECTION).document(budget_id)
