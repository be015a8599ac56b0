"""The `dead` collection: one document a dead letter, its id derived so that a repeated delivery adds nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from google.cloud.firestore_v1.base_query import FieldFilter

from agent_mesh.contracts.tasks import DeadLetter
from agent_mesh.platform.clock import Clock, moment, rfc3339
from agent_mesh.platform.firestore import Exists, FirestoreClient, firestore_errors
from agent_mesh.platform.ids import derived_id

COLLECTION: Final = "dead"
_DETAIL_LIMIT: Final = 2000
_DATA_LIMIT_BYTES: Final = 900_000
"""A Firestore document has at most 1 MiB; a longer message is kept by its size alone and cannot be replayed."""


class DeadTask(Protocol):
    """What a dead letter needs to know of its task."""

    @property
    def task_id(self) -> str:
        """The task's id."""
        ...

    @property
    def agent(self) -> str:
        """The agent it was for."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of its payload."""
        ...


@dataclass(frozen=True)
class DeadFilter:
    """Which dead letters to list; None where it does not matter. `after`: time and id where the page before ended."""

    agent: str | None = None
    reason: str | None = None
    task_id: str | None = None
    after: tuple[datetime, str] | None = None


@dataclass(frozen=True)
class DeadRecord:
    """One dead letter.

    `data` and `attributes` are the message as it was published; both empty where a task has it all.
    """

    dead_id: str
    topic: str
    reason: str
    detail: str
    attempts: int
    at: datetime
    task_id: str | None = None
    agent: str | None = None
    data: bytes = b""
    size_bytes: int = 0
    attributes: dict[str, str] | None = None
    replayed_at: datetime | None = None
    replayed_as: str | None = None

    def view(self) -> DeadLetter:
        """Return what is shown of it; the message itself is not."""
        return DeadLetter(
            dead_id=self.dead_id,
            topic=self.topic,
            reason=self.reason,
            detail=self.detail,
            attempts=self.attempts,
            task_id=self.task_id,
            agent=self.agent,
            at=rfc3339(self.at),
            replayed_at=rfc3339(self.replayed_at) if self.replayed_at else None,
            replayed_as=self.replayed_as,
            size_bytes=self.size_bytes,
        )


class DeadLetters:
    """Keeps, lists and marks dead letters."""

    def __init__(self, database: FirestoreClient, clock: Clock, retention_days: int) -> None:
        """Keep each for `retention_days`."""
        self._database = database
        self._clock = clock
        self._kept = timedelta(days=retention_days)

    def keep_task(self, task: DeadTask, reason: str, detail: str, attempts: int) -> None:
        """Keep a task that is dead; what it was is in the task itself."""
        record = DeadRecord(
            dead_id=derived_id("dead", "task", task.task_id),
            topic="tasks",
            reason=reason,
            detail=detail[:_DETAIL_LIMIT],
            attempts=attempts,
            at=moment(self._clock.now()),
            task_id=task.task_id,
            agent=task.agent,
            size_bytes=task.size_bytes,
        )
        self._keep(record)

    def keep_message(self, record: DeadRecord) -> None:
        """Keep a message that belongs to no task."""
        size = len(record.data) + len(_attributes_json(record).encode())
        kept = record if size <= _DATA_LIMIT_BYTES else replace(record, data=b"", attributes=None)
        self._keep(replace(kept, detail=record.detail[:_DETAIL_LIMIT]))

    def get(self, dead_id: str) -> DeadRecord | None:
        """Return a dead letter, None if there is none."""
        with firestore_errors():
            snapshot = self._database.collection(COLLECTION).document(dead_id).get()
        return _record(snapshot) if snapshot.exists else None

    def page(self, wanted: DeadFilter, limit: int) -> list[DeadRecord]:
        """Return dead letters, newest first."""
        query: Any = self._database.collection(COLLECTION)
        for field, value in (("agent", wanted.agent), ("reason", wanted.reason), ("taskId", wanted.task_id)):
            if value is not None:
                query = query.where(filter=FieldFilter(field, "==", value))
        query = query.order_by("at", direction="DESCENDING").order_by("__name__", direction="DESCENDING")
        if wanted.after is not None:
            at, dead_id = wanted.after
            query = query.start_after({"at": at, "__name__": self._database.collection(COLLECTION).document(dead_id)})
        with firestore_errors():
            found = query.limit(limit).get()
        return [_record(snapshot) for snapshot in found]

    def replayed(self, dead_id: str, as_what: str) -> None:
        """Note that a dead letter was sent again."""
        change = {"replayedAt": moment(self._clock.now()), "replayedAs": as_what}
        with firestore_errors():
            self._database.collection(COLLECTION).document(dead_id).update(change)

    def _keep(self, record: DeadRecord) -> None:
        document = {
            "topic": record.topic,
            "reason": record.reason,
            "detail": record.detail,
            "attempts": record.attempts,
            "at": record.at,
            "taskId": record.task_id,
            "agent": record.agent,
            "data": record.data,
            "sizeBytes": record.size_bytes,
            "attributes": _attributes_json(record),
            "replayedAt": None,
            "replayedAs": None,
            "expireAt": record.at + self._kept,
        }
        try:
            with firestore_errors():
                self._database.collection(COLLECTION).document(record.dead_id).create(document)
        except Exists:
            return


def _attributes_json(record: DeadRecord) -> str:
    """Return the attributes as JSON text: as fields of a map, some names of attributes are none for Firestore."""
    return json.dumps(record.attributes or {}, ensure_ascii=False)


def _record(snapshot: Any) -> DeadRecord:  # noqa: ANN401  # the client's snapshot type is untyped
    fields = snapshot.to_dict()
    return DeadRecord(
        dead_id=snapshot.id,
        topic=fields["topic"],
        reason=fields["reason"],
        detail=fields["detail"],
        attempts=fields["attempts"],
        at=fields["at"],
        task_id=fields.get("taskId"),
        agent=fields.get("agent"),
        data=fields.get("data", b""),
        size_bytes=fields.get("sizeBytes", 0),
        attributes=json.loads(fields.get("attributes") or "{}"),
        replayed_at=fields.get("replayedAt"),
        replayed_as=fields.get("replayedAs"),
    )
