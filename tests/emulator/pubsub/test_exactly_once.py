from __future__ import annotations

import pytest
from google.api_core.exceptions import FailedPrecondition, InvalidArgument

from emulator.pubsub.server import PubsubServer
from tests.emulator.pubsub.conftest import Endpoint, Place


def test_an_ack_after_the_deadline_fails_for_good_and_says_for_which_id(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, enable_exactly_once_delivery=True)
    place.publish(topic, "a", "b")
    good, late = place.pull(subscription)
    place.nack(subscription, [good], seconds=60)
    server.advance(11)
    with pytest.raises(FailedPrecondition) as caught:
        place.ack(subscription, [good, late])
    assert caught.value.metadata == {late.ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID"}
    assert place.texts(subscription) == ["b"]


def test_an_ack_counts_once(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, enable_exactly_once_delivery=True)
    place.publish(topic, "a")
    received = place.pull(subscription)
    place.ack(subscription, received)
    with pytest.raises(FailedPrecondition):
        place.ack(subscription, received)
    with pytest.raises(FailedPrecondition):
        place.nack(subscription, received, seconds=20)


def test_it_is_only_for_pull(place: Place, endpoint: Endpoint) -> None:
    topic = place.topic()
    with pytest.raises(InvalidArgument):
        place.subscription(topic, enable_exactly_once_delivery=True, push_config={"push_endpoint": endpoint.url})
