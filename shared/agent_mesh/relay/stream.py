"""One reader's stream: what it missed, then what comes live, each message once and in its topic's order.

The subscriber is registered before the history is read, so nothing falls in between; what both bring is given once. A
message whose predecessor this stream has not seen sends it back to the history. If that cannot tell what was missed,
a `Gap` says so before the next message.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Protocol, TypeAlias

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.clock import Clock
from agent_mesh.relay.cursors import Cursor, Progress, parse_cursor, single_topic
from agent_mesh.relay.hub import Hub
from agent_mesh.relay.messages import NO_MESSAGE, Message, number_at
from agent_mesh.relay.replay import GapReason, Replay, StoredMessages
from agent_mesh.relay.subscriber import EndReason, Subscriber
from agent_mesh.relay.topics import TopicPattern

_CLOCKS_DIFFER_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Delivery:
    """A message, and the cursor of a reader who has it."""

    message: Message
    cursor: str


@dataclass(frozen=True)
class Gap:
    """Messages of a topic, or of topics that a pattern means, may be missing here, or come again."""

    topic: str
    reason: GapReason


@dataclass(frozen=True)
class Heartbeat:
    """Nothing happened for a while, or the reader has caught up; the cursor may have moved on all the same."""

    cursor: str | None


@dataclass(frozen=True)
class End:
    """The last event of a stream."""

    reason: EndReason


StreamEvent: TypeAlias = Delivery | Gap | Heartbeat | End


@dataclass(frozen=True)
class StreamLimits:
    """When a stream shows a sign of life, and when it ends by itself: before the platform cuts it."""

    heartbeat_s: float = 15.0
    recycle_s: float = 540.0
    recycle_bytes: int = 8_000_000


DEFAULT_STREAM_LIMITS: Final = StreamLimits()


class TopicHistory(StoredMessages, Protocol):
    """Stored messages, and which topics have any."""

    def topics(self, pattern: TopicPattern) -> list[str]:
        """Return the topics with messages that a pattern stands for."""
        ...

    def forgets(self, number: int) -> bool:
        """Tell whether messages with this number may have been deleted by now."""
        ...


class Relay:
    """Opens the streams of one instance."""

    def __init__(
        self, hub: Hub, history: TopicHistory, clock: Clock, limits: StreamLimits = DEFAULT_STREAM_LIMITS
    ) -> None:
        """Join what `hub` brings live to what `history` has."""
        self._hub = hub
        self._history = history
        self._clock = clock
        self._limits = limits

    def open(
        self, patterns: tuple[TopicPattern, ...], last_event_id: str | None = None
    ) -> Generator[StreamEvent, None, None]:
        """Return a stream that goes on after `last_event_id`; without one it begins with the stored history.

        Raises `InvalidRequest` for a made-up id, before anything is opened. Close the iterator to free what it holds.
        """
        now = number_at(self._clock.now())
        start = parse_cursor(last_event_id, patterns) if last_event_id else Cursor(now)
        progress = Progress(start, single=single_topic(patterns))
        return _Stream(self._hub, self._history, self._clock, self._limits).events(patterns, progress)


class _Stream:
    """The state of one stream. Only the thread that iterates over its events uses it."""

    def __init__(self, hub: Hub, history: TopicHistory, clock: Clock, limits: StreamLimits) -> None:
        self._hub = hub
        self._history = history
        self._clock = clock
        self._limits = limits
        self._sent_bytes = 0
        self._until = time.monotonic() + limits.recycle_s

    def events(self, patterns: tuple[TopicPattern, ...], progress: Progress) -> Generator[StreamEvent, None, None]:
        """Yield until the end; closing the generator frees the subscriber."""
        subscriber = self._hub.subscribe(patterns)
        try:
            for event in chain(self._missed(patterns, progress), self._live(subscriber, progress)):
                yield event
                if self._used_up(event):
                    yield End(EndReason.RECYCLED)
                    return
        except Unavailable:
            yield End(EndReason.UNAVAILABLE)
        finally:
            self._hub.unsubscribe(subscriber)

    def _used_up(self, event: StreamEvent) -> bool:
        if isinstance(event, Delivery):
            self._sent_bytes += event.message.size_bytes
        return self._sent_bytes >= self._limits.recycle_bytes or time.monotonic() >= self._until

    def _missed(self, patterns: tuple[TopicPattern, ...], progress: Progress) -> Iterator[StreamEvent]:
        """Yield what each topic has behind its position; afterwards topics without one had no message before."""
        began = number_at(self._clock.now() - _CLOCKS_DIFFER_SECONDS)
        yield from self._unknown_past(patterns, progress)
        listed = [topic for pattern in patterns for topic in self._history.topics(pattern)]
        for topic in sorted({*listed, *progress.topics}):
            yield from self._behind(topic, progress)
        progress.began, progress.partial = began, False
        yield Heartbeat(progress.text)

    def _unknown_past(self, patterns: tuple[TopicPattern, ...], progress: Progress) -> Iterator[Gap]:
        """Yield a gap for each pattern whose topics may have come and gone since the reader was here."""
        if self._history.forgets(progress.began):
            yield from (Gap(each.text, GapReason.TOO_OLD) for each in patterns if not each.literal)

    def _live(self, subscriber: Subscriber, progress: Progress) -> Iterator[StreamEvent]:
        while True:
            taken = subscriber.take(min(self._limits.heartbeat_s, max(0.0, self._until - time.monotonic())))
            if taken is None:
                yield Heartbeat(progress.text)
            elif isinstance(taken, EndReason):
                yield End(taken)
                return
            else:
                yield from self._in_order(taken, progress)

    def _in_order(self, message: Message, progress: Progress) -> Iterator[StreamEvent]:
        """Yield a live message behind everything of its topic that the reader lacks; nothing if it has it."""
        if message.previous > (progress.position(message.topic) or NO_MESSAGE):
            yield from self._behind(message.topic, progress)
        position = progress.position(message.topic) or NO_MESSAGE
        if message.number <= position:
            return
        if message.previous > position:  # the history has lost it already
            yield Gap(message.topic, GapReason.TOO_OLD)
        yield self._delivery(message, progress)

    def _behind(self, topic: str, progress: Progress) -> Iterator[StreamEvent]:
        """Yield what the history has behind the reader's position; without one, the newest messages."""
        position = progress.position(topic)
        if position is None:
            replay = self._history.latest(topic)
            gap = _gap_of_unnamed(replay, progress)
        else:
            replay = self._history.since(topic, position)
            gap = replay.gap
        if gap:
            yield Gap(topic, gap)
        for message in replay.messages:
            yield self._delivery(message, progress)
        progress.reached(topic, replay.position)

    @staticmethod
    def _delivery(message: Message, progress: Progress) -> Delivery:
        progress.reached(message.topic, message.number)
        return Delivery(message, progress.text or message.message_id)


def _gap_of_unnamed(replay: Replay, progress: Progress) -> GapReason | None:
    """Return why messages of a topic that the cursor does not name may be missing or come again."""
    if not replay.messages:
        return None
    if progress.partial:
        return GapReason.CURSOR_FULL
    return GapReason.TOO_OLD if replay.messages[0].previous > progress.began else None
