"""The same programs on the embedded and on the official Pub/Sub: results and refusals agree.

What differs on purpose is left out here and listed in docs/emulator.md.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.pubsub.server import PubsubServer
from tests.conftest import CloudAddresses
from tests.emulator.pubsub.conftest import SIZES, Place

pytestmark = pytest.mark.official
Step = tuple[Any, ...]
KINDS = ("plain", "ordered", "retaining", "mortal", "dead")


@pytest.fixture(scope="session")
def official(official_cloud: CloudAddresses) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(official_cloud.pubsub, options=SIZES) as channel:
        yield channel


@pytest.fixture(scope="module")
def embedded() -> Iterator[grpc.Channel]:
    """A server of its own: the clock of the shared one is ahead of the official emulator's."""
    with PubsubServer() as running, grpc.insecure_channel(running.address, options=SIZES) as channel:
        yield channel


@pytest.fixture
def both(embedded: grpc.Channel, official: grpc.Channel) -> tuple[Place, Place]:
    """The same project on both."""
    ours = Place(embedded)
    return ours, Place(official, ours.project)


class Run:
    """One program on one server."""

    def __init__(self, place: Place, unique: str) -> None:
        self._place = place
        self._published = 0
        self._held: dict[str, list[ReceivedMessage]] = {kind: [] for kind in KINDS}
        self._times: list[dt.datetime] = []
        self._snapshots: list[tuple[str, str]] = []
        self._topic = place.topic(name=place.name("topics", f"topic-{unique}"))
        grave = place.topic(name=place.name("topics", f"grave-{unique}"))
        policy = {"dead_letter_topic": grave, "max_delivery_attempts": 5}
        self._subscriptions = {
            "plain": place.subscription(self._topic),
            "ordered": place.subscription(self._topic, enable_message_ordering=True),
            "retaining": place.subscription(self._topic, retain_acked_messages=True),
            "mortal": place.subscription(self._topic, dead_letter_policy=policy),
            "dead": place.subscription(grave),
        }

    def trace(self, steps: Sequence[Step]) -> list[object]:
        return [self._take(step) for step in steps]

    def _take(self, step: Step) -> object:
        name, *arguments = step
        try:
            return getattr(self, f"_{name}")(*arguments)
        except GoogleAPICallError as error:
            return (str(error.grpc_status_code), error.message)

    def _publish(self, keys: Sequence[str]) -> int:
        messages = [
            PubsubMessage(data=str(self._published + place).encode(), ordering_key=key, attributes={"n": str(place)})
            for place, key in enumerate(keys)
        ]
        self._published += len(keys)
        self._mark()
        return len(self._place.publisher.publish(topic=self._topic, messages=messages).message_ids)

    def _pull(self, kind: str) -> list[tuple[str, int, tuple[str, ...]]]:
        received = self._place.pull(self._subscriptions[kind], 100)
        if kind != "ordered":
            received.sort(key=lambda one: int(one.message.data))
        self._held[kind] += received
        by_key = sorted(received, key=lambda one: one.message.ordering_key) if kind == "ordered" else received
        return [
            (one.message.data.decode(), one.delivery_attempt, tuple(sorted(one.message.attributes))) for one in by_key
        ]

    def _ack(self, kind: str, first: int, last: int) -> str:
        self._place.ack(self._subscriptions[kind], self._some(kind, first, last))
        return "acked"

    def _nack(self, kind: str, first: int, last: int) -> str:
        self._place.nack(self._subscriptions[kind], self._some(kind, first, last))
        return "nacked"

    def _extend(self, kind: str, seconds: int) -> str:
        self._place.nack(self._subscriptions[kind], self._held[kind], seconds)
        return "extended"

    def _mark(self) -> None:
        time.sleep(0.003)
        self._times.append(dt.datetime.now(dt.UTC))
        time.sleep(0.003)

    def _exhaust(self, kind: str) -> object:
        seen = []
        for _ in range(6):
            seen.append(self._pull(kind))
            self._nack(kind, 0, 100)
        return seen, self._pull("dead")

    def _seek(self, kind: str, which: int) -> object:
        if not self._times:
            return "no time"
        # The official emulator forgets what a seek forward acked, even if it retains acked messages.
        moment = self._times[0 if kind == "retaining" else which % len(self._times)]
        self._held[kind] = []
        self._place.subscriber.seek(request={"subscription": self._subscriptions[kind], "time": moment})
        return self._pull(kind)

    def _snapshot(self, kind: str) -> str:
        name = self._place.name("snapshots")
        self._place.subscriber.create_snapshot(request={"name": name, "subscription": self._subscriptions[kind]})
        self._snapshots.append((kind, name))
        return "captured"

    def _replay(self, which: int) -> object:
        if not self._snapshots:
            return "no snapshot"
        kind, name = self._snapshots[which % len(self._snapshots)]
        self._held[kind] = []
        self._place.subscriber.seek(request={"subscription": self._subscriptions[kind], "snapshot": name})
        return kind, self._pull(kind)

    def _some(self, kind: str, first: int, last: int) -> list[ReceivedMessage]:
        held = self._held[kind]
        chosen, self._held[kind] = held[first:last], held[:first] + held[last:]
        return chosen


places = st.tuples(st.integers(0, 3), st.integers(0, 5)).map(sorted)
kinds = st.sampled_from(KINDS)
unordered = st.sampled_from([kind for kind in KINDS if kind != "ordered"])
steps = st.one_of(
    st.tuples(st.just("publish"), st.lists(st.sampled_from(["", "a", "b"]), max_size=5)),
    st.tuples(st.just("pull"), kinds),
    st.tuples(st.just("pull"), kinds),
    st.builds(lambda kind, span: ("ack", kind, *span), kinds, places),
    st.builds(lambda kind, span: ("nack", kind, *span), unordered, places),
    st.tuples(st.just("extend"), kinds, st.sampled_from([-1, 10, 600])),
    st.tuples(st.just("exhaust"), st.sampled_from(["plain", "mortal"])),
    st.tuples(st.just("seek"), unordered, st.integers(0, 3)),
    st.tuples(st.just("snapshot"), kinds),
    st.tuples(st.just("replay"), st.integers(0, 3)),
)


def test_random_programs_have_the_same_trace(both: tuple[Place, Place]) -> None:
    runs = iter(range(10**6))

    @settings(max_examples=100, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(steps, min_size=4, max_size=25))
    def agree(program: list[Step]) -> None:
        unique = str(next(runs))
        ours, theirs = (Run(place, unique).trace(program) for place in both)
        assert ours == theirs, f"{program}"

    agree()


def both_answer(both: tuple[Place, Place], call: Callable[[Place], object]) -> list[object]:
    def answer(place: Place) -> object:
        try:
            return call(place)
        except GoogleAPICallError as error:
            return (str(error.grpc_status_code), error.message)

    return [answer(place) for place in both]


REFUSED: dict[str, Callable[[Place], object]] = {
    "a topic twice": lambda p: [p.topic(name=p.name("topics", "twice")) for _ in range(2)],
    "a topic without project": lambda p: p.topic(name="topics/abc"),
    "a topic of another kind": lambda p: p.topic(name=p.name("subscriptions", "abc")),
    "a short topic": lambda p: p.topic(name=p.name("topics", "ab")),
    "a topic of goog": lambda p: p.topic(name=p.name("topics", "googabc")),
    "a missing topic": lambda p: p.publisher.get_topic(topic=p.name("topics", "none")),
    "deleting a missing topic": lambda p: p.publisher.delete_topic(topic=p.name("topics", "none")),
    "publishing to a missing topic": lambda p: p.publish(p.name("topics", "none"), "a"),
    "publishing nothing": lambda p: p.publish(p.topic()),
    "publishing an empty message": lambda p: p.publish(p.topic(), ""),
    "publishing too many": lambda p: p.publish(p.topic(), *["a"] * 1001),
    "a subscription to a missing topic": lambda p: p.subscription(p.name("topics", "none")),
    "a missing subscription": lambda p: p.settings(p.name("subscriptions", "none")),
    "pulling from a missing subscription": lambda p: p.subscriber.pull(
        subscription=p.name("subscriptions", "none"), max_messages=1
    ),
    "pulling nothing": lambda p: p.subscriber.pull(subscription=p.subscription(p.topic()), max_messages=0),
    "a long deadline": lambda p: p.subscription(p.topic(), ack_deadline_seconds=601),
    "a negative deadline": lambda p: p.subscription(p.topic(), ack_deadline_seconds=-1),
    "a short retention": lambda p: p.subscription(p.topic(), message_retention_duration="599s"),
    "a short topic retention": lambda p: p.topic(message_retention_duration="599s"),
    "few attempts": lambda p: p.subscription(
        p.topic(), dead_letter_policy={"dead_letter_topic": p.topic(), "max_delivery_attempts": 4}
    ),
    "many attempts": lambda p: p.subscription(
        p.topic(), dead_letter_policy={"dead_letter_topic": p.topic(), "max_delivery_attempts": 101}
    ),
    "a missing dead letter topic": lambda p: p.subscription(
        p.topic(), dead_letter_policy={"dead_letter_topic": p.name("topics", "none")}
    ),
    "a long backoff": lambda p: p.subscription(p.topic(), retry_policy={"minimum_backoff": "700s"}),
    "a crossed backoff": lambda p: p.subscription(
        p.topic(), retry_policy={"minimum_backoff": "50s", "maximum_backoff": "5s"}
    ),
    "a wrong endpoint": lambda p: p.subscription(p.topic(), push_config={"push_endpoint": "nowhere"}),
    "no ack ids": lambda p: p.subscriber.acknowledge(subscription=p.subscription(p.topic()), ack_ids=[]),
    "a wrong ack id": lambda p: p.subscriber.acknowledge(subscription=p.subscription(p.topic()), ack_ids=["a"]),
    "no ids to modify": lambda p: p.subscriber.modify_ack_deadline(
        subscription=p.subscription(p.topic()), ack_ids=[], ack_deadline_seconds=10
    ),
    "acks of a missing subscription": lambda p: p.subscriber.acknowledge(
        subscription=p.name("subscriptions", "none"), ack_ids=["a"]
    ),
    "seeking nowhere": lambda p: p.subscriber.seek(request={"subscription": p.subscription(p.topic())}),
    "seeking a missing snapshot": lambda p: p.subscriber.seek(
        request={"subscription": p.subscription(p.topic()), "snapshot": p.name("snapshots", "none")}
    ),
    "a snapshot of a missing subscription": lambda p: p.subscriber.create_snapshot(
        request={"name": p.name("snapshots", "snap"), "subscription": p.name("subscriptions", "none")}
    ),
    "a missing snapshot": lambda p: p.subscriber.delete_snapshot(snapshot=p.name("snapshots", "none")),
    "an update without mask": lambda p: p.publisher.update_topic(
        request={"topic": {"name": p.topic()}, "update_mask": {}}
    ),
    "an update of the name": lambda p: p.subscriber.update_subscription(
        request={"subscription": {"name": p.subscription(p.topic())}, "update_mask": {"paths": ["name"]}}
    ),
    "an update of nonsense": lambda p: p.subscriber.update_subscription(
        request={"subscription": {"name": p.subscription(p.topic())}, "update_mask": {"paths": ["nonsense"]}}
    ),
    "an update of a missing subscription": lambda p: p.subscriber.update_subscription(
        request={"subscription": {"name": p.name("subscriptions", "none")}, "update_mask": {"paths": ["labels"]}}
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_same_is_refused_with_the_same_words(both: tuple[Place, Place], case: str) -> None:
    ours, theirs = both_answer(both, REFUSED[case])
    assert ours == theirs


def test_settings_come_back_the_same(both: tuple[Place, Place]) -> None:
    def shown(place: Place) -> object:
        topic = place.topic(name=place.name("topics", "shown"), labels={"a": "b"})
        subscription = place.subscription(
            topic,
            ack_deadline_seconds=30,
            labels={"a": "b"},
            enable_message_ordering=True,
            retain_acked_messages=True,
            retry_policy={},
            dead_letter_policy={"dead_letter_topic": topic},
            expiration_policy={"ttl": "86400s"},
        )
        found = place.settings(subscription)
        return [(field, value) for field, value in type(found).to_dict(found).items() if field not in {"name", "state"}]

    ours, theirs = both_answer(both, shown)
    assert ours == theirs


def test_a_deleted_topic_leaves_its_subscription_the_same_way(both: tuple[Place, Place]) -> None:
    def orphaned(place: Place) -> object:
        topic = place.topic()
        subscription = place.subscription(topic)
        place.publish(topic, "a")
        place.publisher.delete_topic(topic=topic)
        place.topic(name=topic)
        place.publish(topic, "b")
        return place.settings(subscription).topic, place.texts(subscription)

    ours, theirs = both_answer(both, orphaned)
    assert ours == theirs == ("_deleted-topic_", ["a"])


def test_deadlines_and_dead_letters_pass_the_same_way_in_real_time(both: tuple[Place, Place]) -> None:
    def outlived(place: Place) -> object:
        topic, grave = place.topic(), place.topic()
        dead = place.subscription(grave)
        policy = {"dead_letter_topic": grave, "max_delivery_attempts": 5}
        subscription = place.subscription(topic, dead_letter_policy=policy)
        place.publish(topic, "a")
        seen: list[object] = []
        for _ in range(5):
            received = place.pull(subscription)
            seen.append([one.delivery_attempt for one in received])
            place.nack(subscription, received, seconds=1)
            seen.append(len(place.pull(subscription)))
            time.sleep(1.6)
        seen.append(place.texts(subscription))
        (died,) = place.pull(dead)
        attributes = dict(died.message.attributes)
        return seen, sorted(attributes), attributes["CloudPubSubDeadLetterSourceDeliveryCount"]

    ours, theirs = both_answer(both, outlived)
    assert ours == theirs
