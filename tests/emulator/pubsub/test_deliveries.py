"""What was pushed is counted, and pushing can be held."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from emulator.pubsub.server import PubsubOptions, PubsubServer
from tests.emulator.pubsub.conftest import SIZES, Endpoint, Place

Eventually = Callable[..., Any]
QUICK = {"minimum_backoff": "0.01s", "maximum_backoff": "0.02s"}


@pytest.fixture
def own() -> Iterator[PubsubServer]:
    """A server for one test alone."""
    with PubsubServer() as running:
        yield running


@pytest.fixture
def own_place(own: PubsubServer) -> Iterator[Place]:
    with grpc.insecure_channel(own.address, options=SIZES) as channel:
        yield Place(channel)


def pushed(place: Place, topic: str, endpoint: Endpoint, **settings: Any) -> str:
    return place.subscription(topic, push_config={"push_endpoint": endpoint.url}, retry_policy=QUICK, **settings)


def test_each_push_is_counted_by_how_it_ended(
    own: PubsubServer, own_place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    endpoint.statuses = [500, 204]
    topic = own_place.topic()
    subscription = pushed(own_place, topic, endpoint, filter='attributes.colour = "red"')
    own_place.publish(topic, "a", colour="red")
    own_place.publish(topic, "b", "c", colour="blue")
    eventually(lambda: own.deliveries()[subscription]["acked"])
    assert own.deliveries() == {
        subscription: {
            "leased": 0,
            "inFlight": 0,
            "filtered": 2,
            "pushed": 2,
            "acked": 1,
            "failed": 1,
            "dead_lettered": 0,
        }
    }


def test_dead_letters_are_counted(
    own: PubsubServer, own_place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    endpoint.otherwise = 500
    topic, grave = own_place.topic(), own_place.topic()
    policy = {"dead_letter_topic": grave, "max_delivery_attempts": 5}
    subscription = pushed(own_place, topic, endpoint, dead_letter_policy=policy)
    own_place.publish(topic, "a")
    eventually(lambda: own.deliveries()[subscription]["dead_lettered"])
    counts = own.deliveries()[subscription]
    assert (counts["leased"], counts["pushed"], counts["failed"], counts["acked"]) == (0, 5, 5, 0)


def test_what_is_under_way_is_counted(
    own: PubsubServer, own_place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    endpoint.delay = 0.5
    topic = own_place.topic()
    subscription = pushed(own_place, topic, endpoint)
    own_place.publish(topic, *"abcdef")
    eventually(lambda: own.deliveries()[subscription]["inFlight"] == 4)
    assert own.deliveries()[subscription]["leased"] == 6


def test_pull_subscriptions_are_not_counted(own: PubsubServer, own_place: Place) -> None:
    own_place.subscription(own_place.topic())
    assert own.deliveries() == {}


def test_held_messages_wait_and_lose_no_attempt(
    own: PubsubServer, own_place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    own.hold_pushes()
    topic = own_place.topic()
    policy = {"dead_letter_topic": own_place.topic(), "max_delivery_attempts": 5}
    subscription = pushed(own_place, topic, endpoint, dead_letter_policy=policy)
    own_place.publish(topic, "a", "b")
    time.sleep(0.2)
    counts = own.deliveries()[subscription]
    assert (counts["leased"], counts["inFlight"], counts["pushed"], endpoint.received) == (2, 0, 0, [])
    own.release_pushes()
    eventually(lambda: len(endpoint.received) == 2)
    assert [one.envelope["deliveryAttempt"] for one in endpoint.received] == [1, 1]


def test_what_failed_before_the_hold_waits_too(
    own: PubsubServer, own_place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    endpoint.otherwise = 500
    topic = own_place.topic()
    subscription = pushed(own_place, topic, endpoint)
    own_place.publish(topic, "a")
    eventually(lambda: endpoint.received)
    own.hold_pushes()
    eventually(lambda: own.deliveries()[subscription]["inFlight"] == 0)
    tries = len(endpoint.received)
    time.sleep(0.2)
    assert len(endpoint.received) == tries
    endpoint.otherwise = 204
    own.release_pushes()
    eventually(lambda: own.deliveries()[subscription]["acked"])


def test_a_server_may_begin_held(endpoint: Endpoint, eventually: Eventually) -> None:
    with PubsubServer(PubsubOptions(held=True)) as own, grpc.insecure_channel(own.address) as channel:
        place = Place(channel)
        topic = place.topic()
        pushed(place, topic, endpoint)
        place.publish(topic, "a")
        time.sleep(0.2)
        assert endpoint.received == []
        own.release_pushes()
        eventually(lambda: endpoint.received)


def test_failures_and_dead_letters_are_logged(
    own: PubsubServer,
    own_place: Place,
    endpoint: Endpoint,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
) -> None:
    endpoint.otherwise = 503
    topic, grave = own_place.topic(), own_place.topic()
    policy = {"dead_letter_topic": grave, "max_delivery_attempts": 5}
    subscription = pushed(own_place, topic, endpoint, dead_letter_policy=policy)
    own_place.publish(topic, "secret")
    eventually(lambda: own.deliveries()[subscription]["dead_lettered"])
    said = capsys.readouterr().err
    assert said.count('"push.failed"') == 5
    assert '"status": 503' in said
    assert '"dead_letter.forwarded"' in said
    assert "secret" not in said


def test_a_push_that_fails_after_a_reset_reaches_nothing_of_the_new_state(
    own: PubsubServer, own_place: Place, endpoint: Endpoint, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.otherwise = 500
    topic, grave = own_place.topic(), own_place.topic()
    policy = {"dead_letter_topic": grave, "max_delivery_attempts": 5}
    pushed(own_place, topic, endpoint, dead_letter_policy=policy)
    own_place.publish(topic, "a")
    eventually(lambda: len(endpoint.received) == 4)
    endpoint.delay = 0.3
    eventually(lambda: len(endpoint.received) == 5)
    own.reset()
    own_place.topic(name=grave)
    buried = own_place.subscription(grave)
    eventually(lambda: capsys.readouterr().err.count('"attempt": 5'))
    assert own_place.texts(buried) == []
