"""The `relay_presence` collection: who listens, counted by each instance in a document of its own.

An instance writes when its counts have changed, at most every few seconds, and now and then to say that it lives; the
last stream's end deletes the document. Of an instance that was killed it is believed for three minutes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias

from google.cloud.firestore_v1.base_query import FieldFilter

from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.firestore import FirestoreClient, firestore_errors
from agent_mesh.relay.topics import TopicPattern, any_matches, parse_patterns

COLLECTION: Final = "relay_presence"
BELIEVED: Final = timedelta(minutes=3)
_LARGEST_BYTES: Final = 500_000

Patterns: TypeAlias = tuple[TopicPattern, ...]


class PresenceBoard:
    """Writes what one instance has, and reads what the others have."""

    def __init__(self, database: FirestoreClient, clock: Clock, instance: str) -> None:
        """Write as `instance`."""
        self._database = database
        self._clock = clock
        self._instance = instance

    def write(self, streams: Mapping[Patterns, int]) -> None:
        """Say how many streams over which patterns there are; nothing is left of an instance without any."""
        document = self._collection().document(self._instance)
        with firestore_errors():
            if not streams:
                document.delete()
                return
            document.set({"streams": _written(streams), "expireAt": moment(self._clock.now()) + BELIEVED})

    def elsewhere(self, topic: str) -> list[int]:
        """Return how many streams of each other instance get the messages of a topic, where there are any."""
        query = self._collection().where(filter=FieldFilter("expireAt", ">", moment(self._clock.now())))
        with firestore_errors():
            found = [each for each in query.get() if each.id != self._instance]
        counts = [count_for(topic, _read(each.get("streams"))) for each in found]
        return [count for count in counts if count]

    def _collection(self) -> Any:  # noqa: ANN401  # the client's reference type is untyped
        return self._database.collection(COLLECTION)


def count_for(topic: str, streams: Mapping[Patterns, int]) -> int:
    """Return how many of these streams get the messages of a topic, each once."""
    return sum(count for patterns, count in streams.items() if any_matches(patterns, topic))


def _written(streams: Mapping[Patterns, int]) -> str:
    """Return the counts as JSON, the largest first; what would not fit into a document is left out."""
    rows: list[str] = []
    size = 2
    for patterns, count in Counter(streams).most_common():
        row = json.dumps([count, *(pattern.text for pattern in patterns)])
        size += len(row) + 1
        if size > _LARGEST_BYTES:
            break
        rows.append(row)
    return f"[{','.join(rows)}]"


def _read(text: str) -> dict[Patterns, int]:
    return {parse_patterns(patterns): count for count, *patterns in json.loads(text)}
