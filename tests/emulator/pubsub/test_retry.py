from __future__ import annotations

from emulator.pubsub.server import PubsubServer
from tests.emulator.pubsub.conftest import Place


def test_a_nack_waits_for_the_backoff_which_doubles(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    retry = {"minimum_backoff": "20s", "maximum_backoff": "30s"}
    subscription = place.subscription(topic, retry_policy=retry)
    place.publish(topic, "a")
    for wait in (20, 30, 30):
        place.nack(subscription, place.pull(subscription))
        server.advance(wait - 3)
        assert place.texts(subscription) == []
        server.advance(4)
    assert place.texts(subscription) == ["a"]


def test_an_empty_retry_policy_means_10_to_600_seconds(place: Place) -> None:
    policy = place.settings(place.subscription(place.topic(), retry_policy={})).retry_policy
    assert (policy.minimum_backoff.total_seconds(), policy.maximum_backoff.total_seconds()) == (10, 600)  # type: ignore[attr-defined]


def test_a_pulled_message_is_dead_after_its_last_attempt(place: Place, server: PubsubServer) -> None:
    topic, grave = place.topic(), place.topic()
    dead = place.subscription(grave)
    policy = {"dead_letter_topic": grave, "max_delivery_attempts": 5}
    subscription = place.subscription(topic, dead_letter_policy=policy)
    place.publish(topic, "a")
    attempts = []
    for number in range(5):
        (received,) = place.pull(subscription)
        attempts.append(received.delivery_attempt)
        if number % 2:
            server.advance(11)
        else:
            place.nack(subscription, [received])
    assert attempts == [1, 2, 3, 4, 5]
    assert place.texts(subscription) == []
    (died,) = place.pull(dead)
    assert died.message.data == b"a"
    assert died.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert died.delivery_attempt == 0


def test_without_its_dead_letter_topic_a_message_keeps_coming(place: Place) -> None:
    topic, grave = place.topic(), place.topic()
    policy = {"dead_letter_topic": grave, "max_delivery_attempts": 5}
    subscription = place.subscription(topic, dead_letter_policy=policy)
    place.publisher.delete_topic(topic=grave)
    place.publish(topic, "a")
    for _ in range(7):
        place.nack(subscription, place.pull(subscription))
    (received,) = place.pull(subscription)
    assert received.delivery_attempt == 8


def test_messages_that_the_filter_refuses_are_done(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, filter='hasPrefix(attributes.colour, "r") AND NOT attributes:skip')
    place.publish(topic, "red", colour="red")
    place.publish(topic, "blue", colour="blue")
    place.publish(topic, "skipped", colour="red", skip="")
    assert place.texts(subscription) == ["red"]
