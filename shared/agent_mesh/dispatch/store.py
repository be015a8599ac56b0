"""The `tasks` collection. A task and what it takes out of its budget change in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from agent_mesh.budgets import Budgets, BudgetState
from agent_mesh.contracts.tasks import TaskStatus
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.settlement import Arrival, ignored_because, settled
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.cursors import cursor_after, position_of
from agent_mesh.platform.firestore import Exists, FirestoreClient, LostRace, Missing, firestore_errors, until_settled

COLLECTION: Final = "tasks"


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks to list; None where it does not matter."""

    caller: str | None = None
    agent: str | None = None
    status: TaskStatus | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Applied:
    """A task after an outcome reached it; `ignored` says why nothing changed, None if it did."""

    task: TaskRecord
    ignored: str | None


class TaskStore:
    """Reads and writes tasks."""

    def __init__(self, database: FirestoreClient, budgets: Budgets, clock: Clock) -> None:
        """Use `budgets` for what tasks reserve."""
        self._database = database
        self._budgets = budgets
        self._clock = clock

    def get(self, task_id: str) -> TaskRecord | None:
        """Return a task, None if there is none."""
        with firestore_errors():
            snapshot = self._document(task_id).get()
        return (
            TaskRecord.from_document(snapshot.id, snapshot.to_dict(), snapshot.update_time) if snapshot.exists else None
        )

    def accept(self, tasks: Sequence[TaskRecord]) -> tuple[list[TaskRecord], BudgetState | None]:
        """Create tasks of one agent and reserve their budget in one commit; return them and the budget as it then is.

        Raises `Exists` if one of them is there already: then none was created and nothing reserved.
        """

        def once() -> tuple[list[TaskRecord], BudgetState | None] | Exists:
            try:
                return self._accept_once(tasks)
            except Exists as there:
                return there
            except Missing:  # the day's first reservation
                for task in tasks:
                    if task.reservation:
                        self._budgets.open(task.agent, task.reservation.budget_id, self._clock.now())
                raise

        accepted = until_settled(once)
        if isinstance(accepted, Exists):
            raise accepted
        return accepted

    def _accept_once(self, tasks: Sequence[TaskRecord]) -> tuple[list[TaskRecord], BudgetState | None]:
        batch = self._database.batch()
        held = [task.reservation for task in tasks if task.reservation]
        if held:
            self._budgets.add_reservation(batch, replace(held[0], cents=sum(each.cents for each in held)))
        for task in tasks:
            batch.create(self._document(task.task_id), task.to_document() | {"acceptedAt": firestore.SERVER_TIMESTAMP})
        with firestore_errors():
            results = batch.commit()
        written = results[len(results) - len(tasks) :]
        accepted = [replace(task, update_time=result.update_time) for task, result in zip(tasks, written, strict=True)]
        return accepted, self._budgets.state_after(results[0]) if held else None

    def add_rejected(self, task: TaskRecord) -> None:
        """Store a task that was refused before anything was reserved."""
        with firestore_errors():
            self._document(task.task_id).create(task.to_document())

    def withdraw(self, accepted: TaskRecord, rejected: TaskRecord) -> None:
        """Put `rejected` in the place of a task that the budget does not allow, and give the reservation back.

        Raises `LostRace` if somebody has taken the accepted task up in between.
        """
        batch = self._database.batch()
        guard = self._database.unchanged_since(accepted.update_time)
        batch.delete(self._document(accepted.task_id), option=guard)
        batch.create(self._document(rejected.task_id), rejected.to_document())
        if accepted.reservation:
            self._budgets.add_settlement(batch, accepted.reservation, 0)
        with firestore_errors():
            batch.commit()

    def undo(self, accepted: Sequence[TaskRecord]) -> None:
        """Take back tasks that were accepted together, as if they had never been.

        What the sweep took up meanwhile stays.
        """
        for task in accepted:
            batch = self._database.batch()
            batch.delete(self._document(task.task_id), option=self._unchanged(task))
            if task.reservation:
                self._budgets.add_settlement(batch, task.reservation, 0)
            with suppress(LostRace), firestore_errors():
                batch.commit()

    def apply(self, task_id: str, arrival: Arrival, known: TaskRecord | None = None) -> Applied | None:
        """Let an outcome reach its task; return None if there is no such task. `known` saves the first read."""
        first = [known] if known else []

        def once() -> Applied | None:
            task = first.pop() if first else self.get(task_id)
            if task is None:
                return None
            ignored = ignored_because(task, arrival)
            if ignored:
                return Applied(task, ignored)
            return Applied(self._settle(task, settled(task, arrival, self._clock.now())), None)

        return until_settled(once)

    def change(self, task: TaskRecord, **changes: Any) -> TaskRecord:  # noqa: ANN401  # fields of TaskRecord
        """Change a task that is still as it was read; raise `LostRace` if it is not."""
        return self._write(task, replace(task, **changes))

    def page(self, wanted: TaskFilter, cursor: str | None, limit: int) -> tuple[list[TaskRecord], str | None]:
        """Return tasks, newest first, and the cursor of the next page. Raises `InvalidRequest` for a made-up cursor."""
        query: Any = self._database.collection(COLLECTION)
        conditions = {
            "caller": wanted.caller,
            "agent": wanted.agent,
            "status": wanted.status.value if wanted.status else None,
            "idempotencyKey": wanted.idempotency_key,
        }
        for field, value in conditions.items():
            if value is not None:
                query = query.where(filter=FieldFilter(field, "==", value))
        query = query.order_by("createdAt", direction="DESCENDING").order_by("__name__", direction="DESCENDING")
        if cursor:
            created_at, task_id = position_of(cursor)
            query = query.start_after({"createdAt": created_at, "__name__": self._document(task_id)})
        with firestore_errors():
            found = query.limit(limit).get()
        tasks = [TaskRecord.from_document(each.id, each.to_dict() or {}, each.update_time) for each in found]
        last = tasks[-1] if len(tasks) == limit else None
        return tasks, cursor_after(last.created_at, last.task_id) if last else None

    def due(self, limit: int) -> list[TaskRecord]:
        """Return tasks that the sweep should look at, the longest due first."""
        query = self._database.collection(COLLECTION).where(
            filter=FieldFilter("dueAt", "<=", moment(self._clock.now()))
        )
        with firestore_errors():
            found = query.order_by("dueAt").limit(limit).get()
        return [TaskRecord.from_document(each.id, each.to_dict() or {}, each.update_time) for each in found]

    def next_due(self) -> datetime | None:
        """Return when the next task falls due."""
        query = self._database.collection(COLLECTION).where(filter=FieldFilter("dueAt", ">", moment(self._clock.now())))
        with firestore_errors():
            found = query.order_by("dueAt").limit(1).get()
        return found[0].get("dueAt") if found else None

    def reserved_after(self, task: TaskRecord) -> int:
        """Return the cents of its budget that unfinished tasks hold which were accepted no earlier than this one."""
        if task.reservation is None:
            return 0
        query: Any = (
            self._database.collection(COLLECTION)
            .where(filter=FieldFilter("budgetId", "==", task.reservation.budget_id))
            .where(filter=FieldFilter("status", "==", TaskStatus.ACCEPTED.value))
        )
        with firestore_errors():
            own = self._document(task.task_id).get(["acceptedAt"])
            if not own.exists:
                message = "the task was withdrawn"
                raise LostRace(message)
            accepted_at = own.get("acceptedAt")
            later = query.where(filter=FieldFilter("acceptedAt", ">", accepted_at)).sum("reservedCents", alias="cents")
            total = int(later.get()[0][0].value or 0)
            same_moment = query.where(filter=FieldFilter("acceptedAt", "==", accepted_at)).get()
        # `acceptedAt` has milliseconds; commits on one budget have an order, and tasks of one commit need one
        place = (own.create_time, own.id)
        tied = [each.get("reservedCents") for each in same_moment if (each.create_time, each.id) > place]
        return total + int(sum(tied))

    def _settle(self, task: TaskRecord, done: TaskRecord) -> TaskRecord:
        batch = self._database.batch()
        batch.update(self._document(task.task_id), _changed(task, done), option=self._unchanged(task))
        if task.reservation:
            self._budgets.add_settlement(batch, task.reservation, done.cost_cents)
        with firestore_errors():
            results = batch.commit()
        return replace(done, update_time=results[0].update_time)

    def _write(self, task: TaskRecord, changed: TaskRecord) -> TaskRecord:
        fields = _changed(task, changed)
        if not fields:
            return task
        with firestore_errors():
            result = self._document(task.task_id).update(fields, option=self._unchanged(task))
        return replace(changed, update_time=result.update_time)

    def _unchanged(self, task: TaskRecord) -> firestore.WriteOption:
        if task.update_time is None:
            message = "a task that was not read or written cannot be changed"
            raise LostRace(message)
        return self._database.unchanged_since(task.update_time)

    def _document(self, task_id: str) -> Any:  # noqa: ANN401  # the client's reference type is untyped
        return self._database.collection(COLLECTION).document(task_id)


def _changed(before: TaskRecord, after: TaskRecord) -> dict[str, object]:
    old = before.to_document()
    return {name: value for name, value in after.to_document().items() if old[name] != value}
