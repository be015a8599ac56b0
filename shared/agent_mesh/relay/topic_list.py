"""The `relay_topics` collection: which topics have messages, for streams over patterns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from agent_mesh.contracts.problems import FieldFault, InvalidRequest
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.firestore import FirestoreClient, firestore_errors
from agent_mesh.relay.topics import TopicPattern

COLLECTION: Final = "relay_topics"
MATCH_LIMIT: Final = 100
"""Most topics with messages that a pattern may stand for when a stream begins: each is read."""

_SCAN_LIMIT: Final = 1000
"""Most topics that are looked at for one pattern: `*.x` looks at all there are."""

_PAGE: Final = 100
_LAST_CHARACTER: Final = "\uf8ff"
_REMEMBERED_LIMIT: Final = 10_000


class TopicList:
    """One document for each topic, whose `expireAt` is never before that of a message on it."""

    def __init__(self, database: FirestoreClient, clock: Clock, kept: timedelta) -> None:
        """List topics whose messages are `kept` so long."""
        self._database = database
        self._clock = clock
        self._kept = kept
        self._lock = threading.Lock()
        self._listed_until: dict[str, float] = {}

    def add(self, batch: firestore.WriteBatch, topic: str) -> float | None:
        """Add the write that lists a topic, if it is due; return until when it is listed then."""
        now = self._clock.now()
        with self._lock:
            if self._listed_until.get(topic, 0.0) >= now + self._kept.total_seconds():
                return None
        expires = moment(now) + 2 * self._kept
        batch.set(self._database.collection(COLLECTION).document(topic), {"topic": topic, "expireAt": expires})
        return expires.timestamp()

    def added(self, topic: str, until: float) -> None:
        """Note that the write was committed."""
        with self._lock:
            if len(self._listed_until) >= _REMEMBERED_LIMIT:
                self._listed_until.clear()
            self._listed_until[topic] = until

    def matching(self, pattern: TopicPattern) -> list[str]:
        """Return the topics that a pattern stands for; raise `InvalidRequest` if they are more than 100."""
        if pattern.literal:
            return [pattern.text]
        query: Any = self._database.collection(COLLECTION).order_by("topic")
        if pattern.prefix:
            query = query.where(filter=FieldFilter("topic", ">=", pattern.prefix))
            query = query.where(filter=FieldFilter("topic", "<", pattern.prefix + _LAST_CHARACTER))
        listed = self._read(query.limit(_SCAN_LIMIT))
        found = [topic for topic in self._alive(listed) if pattern.matches(topic)]
        if len(found) > MATCH_LIMIT or len(listed) == _SCAN_LIMIT:
            raise _too_many(pattern)
        return found

    def names(self, after: str) -> Iterator[str]:
        """Yield topics by name, behind the name `after`, read as they are asked for."""
        while True:
            query: Any = self._database.collection(COLLECTION).order_by("topic")
            listed = self._read(query.start_after({"topic": after}).limit(_PAGE))
            yield from self._alive(listed)
            if len(listed) < _PAGE:
                return
            after = listed[-1].id

    @staticmethod
    def _read(query: Any) -> list[Any]:  # noqa: ANN401  # the client's query type is untyped
        with firestore_errors():
            return list(query.get())

    def _alive(self, listed: list[Any]) -> list[str]:
        now = moment(self._clock.now())
        return [snapshot.id for snapshot in listed if snapshot.get("expireAt") > now]


def _too_many(pattern: TopicPattern) -> InvalidRequest:
    fault = f"{pattern.text!r} stands for more than {MATCH_LIMIT} topics, or may: name fewer"
    return InvalidRequest(f"topic: {fault}.", errors=[FieldFault(field="topic", message=fault)])
