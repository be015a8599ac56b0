"""Whatever publishers, networks and readers do: nothing is lost or repeated without a gap event in its place."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_mesh.platform.clock import SystemClock
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.ids import random_id
from agent_mesh.relay import (
    Delivery,
    Draft,
    End,
    EndReason,
    Gap,
    Heartbeat,
    History,
    Hub,
    Message,
    OpenStream,
    QueueLimits,
    Relay,
    StreamEvent,
    StreamLimits,
    TopicPattern,
    parse_patterns,
)
from agent_mesh.relay.messages import NO_MESSAGE
from tests.conftest import HandClock

TOPICS = ("a", "b", "c.d")
PATTERNS = (["a"], ["b"], ["*"], ["a", "c.*"], ["**"])
READERS = range(len(PATTERNS))

STEP = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(TOPICS), st.sampled_from([1, 1, 1, 3, 60])),
    st.tuples(st.just("lose"), st.sampled_from(TOPICS), st.integers(1, 2)),
    st.tuples(st.just("delay"), st.sampled_from(TOPICS), st.integers(1, 2)),
    st.tuples(st.just("arrive"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("read"), st.sampled_from(READERS), st.integers(1, 8)),
    st.tuples(st.just("read"), st.sampled_from(READERS), st.just(1000)),
    st.tuples(st.just("leave"), st.sampled_from(READERS), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([1, 3600, 100_000]), st.just(0)),
)


@dataclass
class Reader:
    """Connects, reads, loses the connection, comes back with the last id, and checks what it gets."""

    relay: Relay
    patterns: tuple[TopicPattern, ...]
    before: dict[str, int]
    """The newest message of each topic when this reader first came: nothing up to them can be missed."""
    cursor: str | None = None
    stream: OpenStream | None = None
    seen: dict[str, int] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    all_excused: bool = False
    ends: list[EndReason] = field(default_factory=list)

    def read(self, limit: int) -> None:
        """Read so many events, or until nothing more comes."""
        if self.stream is None:
            self.stream = self.relay.open(self.patterns, self.cursor)
        for _ in range(limit):
            event = next(self.stream)
            self.check(event)
            if isinstance(event, Heartbeat | End):
                break

    def leave(self) -> None:
        """Lose the connection."""
        if self.stream:
            self.stream.close()
        self.stream = None

    def check(self, event: StreamEvent) -> None:
        match event:
            case Delivery(message, cursor):
                self.check_message(message)
                self.cursor = cursor
            case Gap(topic, _):
                self.excused.add(topic)
                self.all_excused |= "*" in topic
            case Heartbeat(cursor):
                self.cursor = cursor or self.cursor
            case End(reason):
                self.ends.append(reason)
                self.leave()

    def check_message(self, message: Message) -> None:
        topic, last = message.topic, self.seen.get(message.topic)
        assert any(pattern.matches(topic) for pattern in self.patterns)
        if topic in self.excused or (last is None and self.all_excused):
            self.excused.discard(topic)
        elif last is None:
            assert message.previous <= self.before.get(topic, NO_MESSAGE)
        else:
            assert message.previous == last
        self.seen[topic] = message.number


@dataclass
class World:
    """One instance, and messages on their way to it."""

    history: History
    hub: Hub
    clock: HandClock
    readers: list[Reader]
    delayed: list[Message] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)

    def append(self, topic: str, count: int) -> list[Message]:
        published = self.history.append(topic, [Draft("{}")] * count)
        messages = [each.message for each in published if each.message]
        self.newest[topic] = messages[-1].number
        return messages

    def read(self, reader: Reader, limit: int) -> None:
        if reader.cursor is None and not reader.stream:
            reader.before = dict(self.newest)
        reader.read(limit)

    def do(self, step: tuple[str, str | int, int]) -> None:
        self.clock.advance(0.001)
        match step:
            case ("publish", str(topic), count):
                for message in self.append(topic, count):
                    self.hub.publish(message)
            case ("lose", str(topic), count):
                self.append(topic, count)
            case ("delay", str(topic), count):
                self.delayed += self.append(topic, count)
            case ("arrive", int(place), _):
                if self.delayed:
                    self.hub.publish(self.delayed.pop(place % len(self.delayed)))
            case ("read", int(number), limit):
                self.read(self.readers[number], limit)
            case ("leave", int(number), _):
                self.readers[number].leave()
            case ("wait", int(seconds), _):
                self.clock.advance(seconds)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=40), st.sampled_from([3, 1000]))
def test_nothing_is_lost_or_repeated_without_a_gap(
    local_cloud: object, program: list[tuple[str, str | int, int]], queue: int
) -> None:
    clock = HandClock()
    history = History(FirestoreClient(random_id("test").replace("_", "-")), clock)
    hub = Hub(history, QueueLimits(messages=queue))
    relay = Relay(hub, history, clock, StreamLimits(heartbeat_s=0.0))
    readers = [Reader(relay, parse_patterns(texts), {}) for texts in PATTERNS]
    world = World(history, hub, clock, readers)
    for step in program:
        world.do(step)
    for reader in readers:
        reader.leave()
        world.read(reader, 10_000)
        reader.leave()
        kept = {topic for topic, number in world.newest.items() if not history.forgets(number)}
        wanted = {topic for topic in kept if any(pattern.matches(topic) for pattern in reader.patterns)}
        assert {topic: reader.seen.get(topic) for topic in wanted} == {topic: world.newest[topic] for topic in wanted}
        assert set(reader.ends) <= {EndReason.SLOW}
    assert [hub.presence(topic) for topic in TOPICS] == [0, 0, 0]


def come_and_go(reader: Reader, seed: int, done: threading.Event, failures: list[BaseException]) -> None:
    """Read until all is published; readers with an odd seed lose the connection now and then."""
    dice = random.Random(seed)
    try:
        while not done.is_set():
            reader.read(dice.randrange(1, 30))
            if seed % 2 and dice.random() < 0.3:
                reader.leave()
        for _ in range(2):
            reader.leave()
            reader.read(10_000)
        reader.leave()
    except BaseException as failure:  # noqa: BLE001  # told by the test's own thread
        failures.append(failure)


def test_many_readers_come_and_go_while_messages_are_published(database: FirestoreClient) -> None:
    clock = SystemClock()
    history = History(database, clock)
    hub = Hub(history)
    relay = Relay(hub, history, clock, StreamLimits(heartbeat_s=0.05))
    readers = [Reader(relay, parse_patterns(["t.*"]), {}) for _ in range(40)]
    published: dict[str, int] = {}
    done = threading.Event()
    failures: list[BaseException] = []
    threads = [
        threading.Thread(target=come_and_go, args=(reader, seed, done, failures)) for seed, reader in enumerate(readers)
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        for topic in ("t.a", "t.b"):
            for each in history.append(topic, [Draft("{}")] * 2):
                assert each.message
                hub.publish(each.message)
                published[topic] = each.message.number
        time.sleep(0.02)
    done.set()
    for thread in threads:
        thread.join(20.0)
    assert failures == []
    assert [reader.seen for reader in readers] == [published] * len(readers)
    assert (hub.presence("t.a"), {reason for reader in readers for reason in reader.ends}) == (0, set())
    assert not any(reader.excused for reader in readers)


@pytest.mark.parametrize(("last", "previous"), [(1, 0), (1, 2)])
def test_the_reader_of_these_tests_notices_what_is_wrong(relay: Relay, last: int, previous: int) -> None:
    reader = Reader(relay, parse_patterns(["a"]), {}, seen={"a": last})
    with pytest.raises(AssertionError):
        reader.check(Delivery(Message("a", 3, previous, "{}"), "3"))
