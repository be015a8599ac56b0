from __future__ import annotations

import pytest

from emulator.pubsub.server import PubsubServer
from tests.emulator.pubsub.conftest import Place


def test_a_key_is_pulled_in_order_and_waits_for_what_is_outstanding(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, enable_message_ordering=True)
    place.publish(topic, "a1", "a2", "a3", key="a")
    place.publish(topic, "b1", key="b")
    place.publish(topic, "free")
    first = place.pull(subscription, 2)
    assert [one.message.data for one in first] == [b"a1", b"a2"]
    assert place.texts(subscription) == ["b1", "free"]
    place.ack(subscription, first)
    assert place.texts(subscription) == ["a3"]


def test_a_nack_brings_the_later_ones_back_too(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, enable_message_ordering=True)
    place.publish(topic, *"abcd", key="k")
    received = place.pull(subscription, 3)
    place.nack(subscription, received[1:2])
    place.ack(subscription, received[:1])
    assert place.texts(subscription) == ["b", "c", "d"]


def test_an_expired_lease_brings_the_later_ones_back_too(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, enable_message_ordering=True)
    place.publish(topic, *"abc", key="k")
    received = place.pull(subscription, 2)
    place.nack(subscription, received[1:], seconds=100)
    server.advance(11)
    assert place.texts(subscription) == ["a", "b", "c"]


def test_an_ack_ahead_of_its_turn_waits_for_the_earlier_ones(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, enable_message_ordering=True)
    place.publish(topic, *"abc", key="k")
    first, second, third = place.pull(subscription)
    place.ack(subscription, [second])
    place.nack(subscription, [first])
    assert place.texts(subscription) == ["a", "b", "c"]
    server.advance(11)
    first, second, third = place.pull(subscription)
    place.ack(subscription, [third])
    place.ack(subscription, [first, second])
    server.advance(700)
    assert place.texts(subscription) == []


def test_a_backoff_holds_the_whole_key_but_no_other(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    retry = {"minimum_backoff": "20s", "maximum_backoff": "20s"}
    subscription = place.subscription(topic, enable_message_ordering=True, retry_policy=retry)
    place.publish(topic, "a1", "a2", key="a")
    place.nack(subscription, place.pull(subscription, 1))
    place.publish(topic, "a3", key="a")
    place.publish(topic, "b1", key="b")
    assert place.texts(subscription) == ["b1"]
    server.advance(21)
    assert place.texts(subscription) == ["a1", "a2", "a3"]


def test_without_ordering_keys_mean_nothing(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, *"abc", key="k")
    place.pull(subscription, 1)
    assert place.texts(subscription) == ["b", "c"]


@pytest.mark.parametrize("policy", [{}, {"minimum_backoff": "10s", "maximum_backoff": "10s"}])
def test_a_key_is_forgotten_once_its_messages_are_done(
    place: Place, server: PubsubServer, policy: dict[str, str]
) -> None:
    topic = place.topic()
    retry = {"retry_policy": policy} if policy else {}
    subscription = place.subscription(topic, enable_message_ordering=True, **retry)
    for key in "xyz":
        place.publish(topic, "1", "2", key=key)
    for _ in range(2):
        place.nack(subscription, place.pull(subscription))
        server.advance(11 if policy else 0)
    received = place.pull(subscription)
    assert len(received) == 6
    place.ack(subscription, received)
    assert server.call(lambda: server.broker.subscriptions[subscription].backlog._keys) == {}
