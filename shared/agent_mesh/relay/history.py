"""The `relay_messages` collection: the stored messages of every topic, in one order that no race can break.

Each message is a document of its own, whose id derives from the topic and the number of its predecessor. Appending is
"create if absent", so a predecessor has one successor: whoever loses the race reads the newest message and tries
again behind it. There is no counter and no document that every publisher writes.

What it costs, in documents:

- to append a message: 1 write; 2 with a key (`relay_keys`); now and then 1 more that lists the topic
  (`relay_topics`). TTL deletes each once. 1 read where the instance does not know the topic's newest message, and 2
  for each lost race. Messages of one topic that are appended together are one commit.
- to read: 1 for each message returned, at least 1 and at most 51. For a reader who missed more than 50, 1 for each of
  them and at most 102 more.

Only a topic's entry in the list is written more than once: at most once in each retention by each instance. An
instance trusts for 10 minutes what it knows of a topic's newest message: far less than the time after which TTL may
delete a successor, whose document is the fence. For the same reason messages are never deleted early.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.firestore import Exists, FirestoreClient, firestore_errors, until_settled
from agent_mesh.platform.ids import derived_id, random_id
from agent_mesh.relay.heads import Heads
from agent_mesh.relay.keys import PublishKeys
from agent_mesh.relay.messages import NO_MESSAGE, Draft, Message, id_of, next_number, number_at
from agent_mesh.relay.replay import HISTORY_LIMIT, RESUME_LIMIT, GapReason, Replay
from agent_mesh.relay.topic_list import TopicList
from agent_mesh.relay.topics import TopicPattern

COLLECTION: Final = "relay_messages"
DEFAULT_KEPT: Final = timedelta(days=1)
SHORTEST_KEPT: Final = timedelta(hours=1)

_COMMIT_LIMIT_MESSAGES: Final = 100
_COMMIT_LIMIT_BYTES: Final = 4 * 1024 * 1024
_SETTLED_SECONDS: Final = 600.0
"""No message is appended with a number that lies further back: clocks differ less, and a commit ends sooner."""


@dataclass(frozen=True)
class Published:
    """The outcome of a draft. `message` is None if one with its key had been published before, under this id."""

    message_id: str
    message: Message | None


@dataclass
class _Attempt:
    """Drafts on their way into one commit; `writer` tells our documents from those of others."""

    topic: str
    drafts: Sequence[Draft]
    writer: str = field(default_factory=lambda: random_id("w"))
    repeated: dict[str, int] = field(default_factory=dict)

    def chained(self, head: int, unix_seconds: float) -> list[Message | None]:
        """Return the messages behind `head`, None for what was published before."""
        chain: list[Message | None] = []
        for draft in self.drafts:
            if draft.key in self.repeated:
                chain.append(None)
                continue
            number = next_number(head, unix_seconds)
            chain.append(Message(self.topic, number, head, draft.payload))
            head = number
        return chain

    def published(self, chain: Sequence[Message | None]) -> list[Published]:
        """Return the outcome of each draft."""
        return [
            Published(message.message_id if message else id_of(self.repeated[draft.key or ""]), message)
            for draft, message in zip(self.drafts, chain, strict=True)
        ]


class History:
    """Appends messages and reads them."""

    def __init__(self, database: FirestoreClient, clock: Clock, kept: timedelta = DEFAULT_KEPT) -> None:
        """Keep each message so long, at least an hour."""
        if kept < SHORTEST_KEPT:
            raise ValueError(f"messages are kept for at least {SHORTEST_KEPT}, not {kept}")
        self._database = database
        self._clock = clock
        self._kept = kept
        self._keys = PublishKeys(database)
        self._topics = TopicList(database, clock, kept)
        self._heads = Heads(clock)

    def append(self, topic: str, drafts: Sequence[Draft]) -> list[Published]:
        """Append drafts in their order; one whose key the topic knows is not appended again.

        Raises `Unavailable` when the database cannot be reached. It may have appended some of them: whoever repeats
        the call needs keys.
        """
        published: list[Published] = []
        for part in _commits(drafts):
            attempt = _Attempt(topic, part)
            published += until_settled(lambda attempt=attempt: self._append_once(attempt))  # type: ignore[misc]
        return published

    def latest(self, topic: str) -> Replay:
        """Return the newest messages of a topic, at most 50."""
        return self._replay(self._newest(topic, HISTORY_LIMIT))

    def since(self, topic: str, position: int) -> Replay:
        """Return exactly what came after a position, or the newest messages and the reason of the gap."""
        found = self._newest(topic, HISTORY_LIMIT + 1, position)
        if not found and position > self._settled():
            return replace(self.latest(topic), gap=GapReason.UNKNOWN)
        later = [message for message in found if message.number > position]
        if self.forgets(position) or len(later) > HISTORY_LIMIT:
            return self._replay(later[-HISTORY_LIMIT:], GapReason.TOO_OLD)
        return self._replay(later, position=position)

    def after(self, topic: str, position: int) -> Iterator[Replay]:
        """Yield exactly what came after a position, oldest first, in parts that are read as they are asked for.

        Only behind 1,000 messages more than 50 are a gap.
        """
        replay = self.since(topic, position)
        if replay.gap is GapReason.TOO_OLD:
            for _ in range(RESUME_LIMIT // HISTORY_LIMIT):
                if self.forgets(position):
                    break
                page = tuple(self.oldest(topic, position))
                position = page[-1].number if page else position
                yield Replay(page, position)
                if len(page) < HISTORY_LIMIT:
                    break
            replay = self.since(topic, position)
        yield replay

    def oldest(self, topic: str, position: int) -> list[Message]:
        """Return the first messages after a position, at most 50."""
        query: Any = self._database.collection(COLLECTION).where(filter=FieldFilter("topic", "==", topic))
        query = query.where(filter=FieldFilter("number", ">", position))
        return _read(query.order_by("number").limit(HISTORY_LIMIT))

    def find(self, topic: str, number: int) -> Message | None:
        """Return the message with this number, None if there is none or no longer."""
        found = self._newest(topic, 1, number, number)
        return found[0] if found else None

    def topics(self, pattern: TopicPattern) -> list[str]:
        """Return the topics with messages that a pattern stands for."""
        return self._topics.matching(pattern)

    def topic_names(self, after: str) -> Iterator[str]:
        """Yield the topics that have messages, by name, behind the name `after`."""
        return self._topics.names(after)

    def forgets(self, number: int) -> bool:
        """Tell whether messages with this number may have been deleted by now."""
        return number < number_at(self._clock.now() - self._kept.total_seconds())

    def _replay(self, found: Sequence[Message], gap: GapReason | None = None, position: int = NO_MESSAGE) -> Replay:
        """Return what is kept of the found; the position is recent, or a silent topic's would one day be too old."""
        newest = found[-1].number if found else NO_MESSAGE
        kept = tuple(message for message in found if not self.forgets(message.number))
        return Replay(kept, max(newest, position, self._settled()), gap)

    def _settled(self) -> int:
        return number_at(self._clock.now() - _SETTLED_SECONDS)

    def _append_once(self, attempt: _Attempt) -> list[Published]:
        asked_at = self._clock.now()
        head = self._head(attempt.topic)
        chain = attempt.chained(head, asked_at)
        appended = [message for message in chain if message]
        if appended:
            try:
                self._commit(attempt, chain, moment(asked_at) + self._kept)
            except Exists:
                self._heads.forget(attempt.topic)
                if not self._is_ours(attempt, head):
                    attempt.repeated = self._keys.published(attempt.topic, attempt.drafts)
                    raise
            self._heads.set(attempt.topic, appended[-1].number, asked_at)
        return attempt.published(chain)

    def _commit(self, attempt: _Attempt, chain: Sequence[Message | None], expires: datetime) -> None:
        batch = self._database.batch()
        for draft, message in zip(attempt.drafts, chain, strict=True):
            if message is None:
                continue
            fields = {
                "topic": message.topic,
                "number": message.number,
                "previous": message.previous,
                "payload": message.payload,
                "writer": attempt.writer,
                "expireAt": expires,
            }
            batch.create(self._document(message.topic, message.previous), fields)
            if draft.key is not None:
                self._keys.add(batch, message, draft.key, expires)
        listed_until = self._topics.add(batch, attempt.topic)
        with firestore_errors():
            batch.commit()
        if listed_until:
            self._topics.added(attempt.topic, listed_until)

    def _is_ours(self, attempt: _Attempt, head: int) -> bool:
        """Tell whether the commit that met its own documents had gone through: the client repeats lost ones."""
        with firestore_errors():
            there = self._document(attempt.topic, head).get(["writer"])
        return bool(there.exists and there.get("writer") == attempt.writer)

    def _head(self, topic: str) -> int:
        known = self._heads.get(topic)
        if known is not None:
            return known
        found = self._newest(topic, 1)
        return found[-1].number if found else NO_MESSAGE

    def _newest(self, topic: str, limit: int, position: int | None = None, last: int | None = None) -> list[Message]:
        """Return the newest messages from `position` to `last`, oldest first; also those that TTL will delete."""
        query: Any = self._database.collection(COLLECTION).where(filter=FieldFilter("topic", "==", topic))
        if position is not None:
            query = query.where(filter=FieldFilter("number", ">=", position))
        if last is not None:
            query = query.where(filter=FieldFilter("number", "<=", last))
        return _read(query.order_by("number", direction=firestore.Query.DESCENDING).limit(limit))[::-1]

    def _document(self, topic: str, previous: int) -> Any:  # noqa: ANN401  # the client's reference type is untyped
        return self._database.collection(COLLECTION).document(derived_id("msg", topic, str(previous)))


def _read(query: Any) -> list[Message]:  # noqa: ANN401  # the client's query type is untyped
    with firestore_errors():
        return [_message_of(snapshot.to_dict()) for snapshot in query.get()]


def _message_of(fields: dict[str, Any]) -> Message:
    return Message(fields["topic"], fields["number"], fields["previous"], fields["payload"])


def _commits(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Cut drafts into parts that one commit takes, none with the same key twice."""
    part: list[Draft] = []
    size = 0
    for draft in drafts:
        length = len(draft.payload.encode())
        full = len(part) == _COMMIT_LIMIT_MESSAGES or size + length > _COMMIT_LIMIT_BYTES
        if part and (full or (draft.key is not None and draft.key in {each.key for each in part})):
            yield part
            part, size = [], 0
        part.append(draft)
        size += length
    if part:
        yield part
