"""The fan-out of one instance: every message that reaches it goes to the subscribers whose patterns mean its topic.

Whoever publishes does the work, so no subscriber needs a thread here. Lists of subscribers are replaced, never changed:
publishing reads them without a lock. Messages that reach the instance twice are dropped, and what was lost on the way
is read from the history once, not by every subscriber.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.relay.messages import Message
from agent_mesh.relay.replay import StoredMessages
from agent_mesh.relay.subscriber import DEFAULT_QUEUE_LIMITS, EndReason, QueueLimits, Subscriber
from agent_mesh.relay.topics import TopicPattern

_TOPICS_REMEMBERED: Final = 10_000
_LANES: Final = 32


class Hub:
    """The subscribers of one instance."""

    def __init__(self, stored: StoredMessages, limits: QueueLimits = DEFAULT_QUEUE_LIMITS) -> None:
        """Read from `stored` what does not arrive; let so much wait for each subscriber."""
        self._stored = stored
        self._limits = limits
        self._lock = threading.Lock()
        self._by_pattern: dict[TopicPattern, tuple[Subscriber, ...]] = {}
        self._wildcards: tuple[TopicPattern, ...] = ()
        self._closed = False
        self._lanes = [_Lane() for _ in range(_LANES)]

    def subscribe(self, patterns: tuple[TopicPattern, ...]) -> Subscriber:
        """Return a new subscriber; after `close`, one that has ended."""
        subscriber = Subscriber(patterns, self._limits)
        with self._lock:
            if self._closed:
                subscriber.end(EndReason.SHUTDOWN)
                return subscriber
            for pattern in patterns:
                self._put(pattern, (*self._by_pattern.get(pattern, ()), subscriber))
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; once more changes nothing."""
        with self._lock:
            for pattern in subscriber.patterns:
                others = tuple(each for each in self._by_pattern.get(pattern, ()) if each is not subscriber)
                self._put(pattern, others)

    def publish(self, *messages: Message) -> None:
        """Hand messages of one topic, and what is missing before them, to every subscriber of the topic."""
        topic = messages[0].topic
        lane = self._lanes[hash(topic) % _LANES]
        with lane.lock:
            subscribers = self._subscribers(topic)
            if not subscribers:
                lane.forget(topic)
                return
            handed_out = self._with_missing(messages, lane.last(topic))
            if not handed_out:
                return
            lane.reached(handed_out[-1])
            ended = [each for each in subscribers if not each.offer(handed_out)]
        for subscriber in ended:
            self.unsubscribe(subscriber)

    @property
    def patterns(self) -> tuple[TopicPattern, ...]:
        """What somebody listens to."""
        return tuple(self._by_pattern)

    def last(self, topic: str) -> int | None:
        """Return the number of the last message of a topic that was handed out, None if it is not known."""
        lane = self._lanes[hash(topic) % _LANES]
        with lane.lock:
            return lane.last(topic)

    def presence(self, topic: str) -> int:
        """Return how many subscribers of this instance get the messages of a topic."""
        return len(self._subscribers(topic))

    def close(self) -> None:
        """End every stream and take no new one."""
        with self._lock:
            self._closed = True
            everybody = {subscriber for each in self._by_pattern.values() for subscriber in each}
            self._by_pattern, self._wildcards = {}, ()
        for subscriber in everybody:
            subscriber.end(EndReason.SHUTDOWN)

    def _with_missing(self, messages: Sequence[Message], last: int | None) -> Sequence[Message]:
        new = [message for message in messages if last is None or message.number > last]
        if last is None or not new or new[0].previous == last:
            return new
        try:
            missed = self._stored.since(new[0].topic, last).messages
        except Unavailable:
            missed = ()  # every stream sees the hole itself, and ends if the database is still out of reach
        missed = tuple(each for each in missed if each.number < new[0].number)
        if sum(each.size_bytes for each in missed) > self._limits.size_bytes // 4:
            missed = ()  # they would fill the queues: each stream reads them at its own pace
        return [*missed, *new]

    def _subscribers(self, topic: str) -> dict[Subscriber, None]:
        """Return each subscriber once, whatever its patterns have in common."""
        by_pattern = self._by_pattern
        matching: Iterator[TopicPattern] = (each for each in self._wildcards if each.matches(topic))
        patterns = (TopicPattern(topic), *matching)
        return {subscriber: None for pattern in patterns for subscriber in by_pattern.get(pattern, ())}

    def _put(self, pattern: TopicPattern, subscribers: tuple[Subscriber, ...]) -> None:
        changed = {each: others for each, others in self._by_pattern.items() if each != pattern}
        if subscribers:
            changed[pattern] = subscribers
        self._by_pattern = changed
        self._wildcards = tuple(each for each in changed if not each.literal)


class _Lane:
    """Keeps the messages of each of its topics in order: one is handed out at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._last: OrderedDict[str, int] = OrderedDict()

    def last(self, topic: str) -> int | None:
        """Return the number of the last message that was handed out."""
        return self._last.get(topic)

    def reached(self, message: Message) -> None:
        """Note a message that is handed out."""
        self._last[message.topic] = message.number
        self._last.move_to_end(message.topic)
        if len(self._last) > _TOPICS_REMEMBERED // _LANES:
            self._last.popitem(last=False)

    def forget(self, topic: str) -> None:
        """Forget a topic that nobody listens to."""
        self._last.pop(topic, None)
