"""One reader's stream: what it missed, then what comes live, each message once and in its topic's order.

The subscriber is registered before the history is read, so nothing falls in between; what both bring is given once. A
message whose predecessor this stream has not seen sends it back to the history. If that cannot tell what was missed,
a `Gap` says so before the next message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Protocol, TypeAlias

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.clock import Clock
from agent_mesh.relay.cursors import Cursor, Progress, parse_cursor, single_topic
from agent_mesh.relay.hub import Hub
from agent_mesh.relay.messages import NO_MESSAGE, Message, number_at
from agent_mesh.relay.replay import GapReason, Replay, StoredMessages
from agent_mesh.relay.subscriber import EndReason
from agent_mesh.relay.topics import TopicPattern

Readable: TypeAlias = Callable[[str], bool]
"""Whether a reader may see a topic. Asked for every message; may raise `Unavailable`, which ends the stream."""

_CLOCKS_DIFFER_SECONDS: Final = 60.0
_CLEARED_SECONDS: Final = 30.0
"""How long a topic that a reader may see is not asked about again by publishers."""

_BATCH_BYTES: Final = 64 * 1024


def everything(_topic: str) -> bool:
    """Let a reader see every topic that its patterns mean."""
    return True


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


class StraightWriter(Protocol):
    """Writes to a reader from the publisher's thread, while the stream's own thread waits."""

    def send(self, deliveries: Sequence[Delivery]) -> bytes | None:
        """Write without waiting; return what could not be written, None if it was nothing at all."""
        ...

    def finish(self, rest: bytes) -> None:
        """Write what could not be written, in the stream's own thread; raise `OSError` if the reader has gone."""
        ...


class TopicHistory(StoredMessages, Protocol):
    """Stored messages, and which topics have any."""

    def topics(self, pattern: TopicPattern) -> list[str]:
        """Return the topics with messages that a pattern stands for."""
        ...

    def after(self, topic: str, position: int) -> Iterator[Replay]:
        """Yield what came after a position, in parts; the last one has a gap where it was more than 1,000 messages."""
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
        self,
        patterns: tuple[TopicPattern, ...],
        last_event_id: str | None = None,
        readable: Readable = everything,
    ) -> OpenStream:
        """Return a stream that goes on after `last_event_id`; without one it begins with the stored history.

        Of the topics that the patterns mean it has those that are `readable`. Raises `InvalidRequest` for a made-up id
        or patterns that mean too many topics, and `Unavailable`; nothing is open then. Close the stream to free what it
        holds.
        """
        now = number_at(self._clock.now())
        start = parse_cursor(last_event_id, patterns) if last_event_id else Cursor(now)
        progress = Progress(start, single=single_topic(patterns))
        return OpenStream(_Source(self._hub, self._history, self._clock, self._limits, readable), patterns, progress)


@dataclass(frozen=True)
class _Source:
    """What all streams are made of."""

    hub: Hub
    history: TopicHistory
    clock: Clock
    limits: StreamLimits
    readable: Readable


class OpenStream:
    """One stream: iterate over its events, one by one or in `batches`, in one thread. Any thread may end it."""

    def __init__(self, source: _Source, patterns: tuple[TopicPattern, ...], progress: Progress) -> None:
        """Subscribe, and see which topics there are."""
        self.patterns: Final = patterns
        self._source = source
        self._progress = progress
        self._sent_bytes = 0
        self._until = time.monotonic() + source.limits.recycle_s
        self._began = number_at(source.clock.now() - _CLOCKS_DIFFER_SECONDS)
        self._subscriber = source.hub.subscribe(patterns)
        try:
            self._listed = {topic for pattern in patterns for topic in source.history.topics(pattern)}
        except BaseException:
            source.hub.unsubscribe(self._subscriber)
            raise
        self._cleared: dict[str, float] = {}
        self._writer: StraightWriter | None = None
        self._rest = b""
        self._batches = self._all()
        self._batch: Iterator[StreamEvent] = iter(())

    def __iter__(self) -> Iterator[StreamEvent]:
        return self

    def __next__(self) -> StreamEvent:
        """Return the next event, whatever batch it is in."""
        while (event := next(self._batch, None)) is None:
            self._batch = iter(next(self._batches))
        return event

    def batches(self) -> Iterator[Sequence[StreamEvent]]:
        """Yield what is ready at once together: it can be sent in one piece."""
        return self._batches

    def write_straight(self, writer: StraightWriter) -> None:
        """From now on let publishers write with `writer` whatever the reader lacks nothing before."""
        self._writer = writer
        self._subscriber.use(self._written_straight)

    def wake(self) -> None:
        """Let the reading thread have a heartbeat now."""
        self._subscriber.wake()

    def abandon(self) -> None:
        """End it, for nobody reads it any more."""
        self._subscriber.end(EndReason.GONE)

    def close(self) -> None:
        """Free what it holds; once more changes nothing."""
        self._batches.close()
        self._source.hub.unsubscribe(self._subscriber)

    def _all(self) -> Generator[Sequence[StreamEvent], None, None]:
        batch: list[StreamEvent] = []
        size = 0
        try:
            for event in chain(self._missed(), self._live()):
                if event is not None:
                    batch.append(event)
                    size += event.message.size_bytes if isinstance(event, Delivery) else 0
                    if self._used_up(event):
                        batch.append(End(EndReason.RECYCLED))
                        break
                if batch and (event is None or size >= _BATCH_BYTES):
                    yield batch
                    batch, size = [], 0
        except Unavailable:
            batch.append(End(EndReason.UNAVAILABLE))
        finally:
            self._source.hub.unsubscribe(self._subscriber)
        yield batch

    def _used_up(self, event: StreamEvent) -> bool:
        if isinstance(event, Delivery):
            self._sent_bytes += event.message.size_bytes
        limits = self._source.limits
        return self._sent_bytes >= limits.recycle_bytes or time.monotonic() >= self._until

    def _missed(self) -> Iterator[StreamEvent]:
        """Yield what each topic has behind its position; afterwards topics without one had no message before."""
        progress = self._progress
        yield from self._unknown_past()
        for topic in sorted({*self._listed, *progress.topics}):
            if self._may_read(topic):
                yield from self._behind(topic)
        progress.began, progress.partial = self._began, False
        yield Heartbeat(progress.text)

    def _unknown_past(self) -> Iterator[Gap]:
        """Yield a gap for each pattern whose topics may have come and gone since the reader was here."""
        if self._source.history.forgets(self._progress.began):
            yield from (Gap(each.text, GapReason.TOO_OLD) for each in self.patterns if not each.literal)

    def _live(self) -> Iterator[StreamEvent | None]:
        """Yield events as they come, None where the next one may have to be waited for."""
        while True:
            yield None
            limits = self._source.limits
            taken = self._subscriber.take(min(limits.heartbeat_s, max(0.0, self._until - time.monotonic())))
            self._finish_rest()
            if taken is None:
                yield Heartbeat(self._progress.text)
            elif isinstance(taken, EndReason):
                yield End(taken)
                return
            else:
                for message in taken:
                    yield from self._in_order(message)

    def _in_order(self, message: Message) -> Iterator[StreamEvent]:
        """Yield a live message behind everything of its topic that the reader lacks; nothing if it has it."""
        progress = self._progress
        position = progress.position(message.topic) or NO_MESSAGE
        if message.number <= position or not self._may_read(message.topic):
            return
        if message.previous > position:
            yield from self._behind(message.topic)
            position = progress.position(message.topic) or NO_MESSAGE
            if message.number <= position:
                return
            if message.previous > position:  # the history has lost it already
                yield Gap(message.topic, GapReason.TOO_OLD)
        yield self._delivery(message)

    def _may_read(self, topic: str) -> bool:
        if not self._source.readable(topic):
            return False
        self._cleared[topic] = time.monotonic() + _CLEARED_SECONDS
        return True

    def _written_straight(self, messages: Sequence[Message]) -> bool:
        """Write messages of one topic now, called by their publisher; false where that would not be in order."""
        topic, last = messages[0].topic, self._progress.position(messages[0].topic) or NO_MESSAGE
        if self._rest or self._writer is None or self._cleared.get(topic, 0.0) < time.monotonic():
            return False
        lacking = [message for message in messages if message.number > last]
        for message in lacking:
            if message.previous > last:
                return False
            last = message.number
        return not lacking or self._sent_straight(self._writer, lacking)

    def _sent_straight(self, writer: StraightWriter, lacking: Sequence[Message]) -> bool:
        before = self._progress.position(lacking[0].topic)
        rest = writer.send([self._delivery(message) for message in lacking])
        if rest is None:
            self._progress.restore(lacking[0].topic, before)
            return False
        self._rest = rest
        self._sent_bytes += sum(message.size_bytes for message in lacking)
        if rest or self._sent_bytes >= self._source.limits.recycle_bytes:
            self._subscriber.wake_from_shortcut()
        return True

    def _finish_rest(self) -> None:
        if self._rest and self._writer:
            try:
                self._writer.finish(self._rest)
            except OSError:
                self.abandon()
            self._rest = b""

    def _behind(self, topic: str) -> Iterator[StreamEvent]:
        """Yield what the history has behind the reader's position; without one, the newest messages."""
        progress = self._progress
        position = progress.position(topic)
        if position is None:
            newest = self._source.history.latest(topic)
            parts = iter([replace(newest, gap=_gap_of_unnamed(newest, progress))])
        else:
            parts = self._source.history.after(topic, position)
        for part in parts:
            if part.gap:
                yield Gap(topic, part.gap)
            for message in part.messages:
                yield self._delivery(message)
            progress.reached(topic, part.position)

    def _delivery(self, message: Message) -> Delivery:
        self._progress.reached(message.topic, message.number)
        return Delivery(message, self._progress.text or message.message_id)


def _gap_of_unnamed(replay: Replay, progress: Progress) -> GapReason | None:
    """Return why messages of a topic that the cursor does not name may be missing or come again."""
    if not replay.messages:
        return None
    if progress.partial:
        return GapReason.CURSOR_FULL
    return GapReason.TOO_OLD if replay.messages[0].previous > progress.began else None
