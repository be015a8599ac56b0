"""After a reset or restore of the stack's Pub/Sub its subscriptions are those of this run before any push begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from emulator.embedded import Redeploying
from emulator.pubsub.server import PubsubOptions, PubsubServer
from tests.emulator.pubsub.conftest import Endpoint, Place

Eventually = Callable[..., Any]


@pytest.fixture
def pubsub() -> Iterator[PubsubServer]:
    with PubsubServer(PubsubOptions(held=True)) as running:
        yield running


@pytest.fixture
def place(pubsub: PubsubServer) -> Iterator[Place]:
    with grpc.insecure_channel(pubsub.address) as channel:
        yield Place(channel)


def test_a_snapshot_of_another_run_is_pushed_to_the_endpoints_of_this_one(
    pubsub: PubsubServer, place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    topic, earlier = place.topic(), Endpoint()
    subscription = place.subscription(topic, push_config={"push_endpoint": earlier.url})
    place.publish(topic, "a")
    kept = pubsub.act("snapshot")
    pubsub.reset()
    pubsub.release_pushes()

    def restored() -> None:
        time.sleep(0.2)
        here = {"subscription": subscription, "push_config": {"push_endpoint": endpoint.url}}
        place.subscriber.modify_push_config(request=here)
        pubsub.release_pushes()

    Redeploying(pubsub, restored).act("restore", snapshot=kept)
    eventually(lambda: endpoint.received)
    assert earlier.received == []
    earlier.close()


def test_what_is_refused_holds_nothing_back(pubsub: PubsubServer, place: Place, endpoint: Endpoint) -> None:
    topic = place.topic()
    place.subscription(topic, push_config={"push_endpoint": endpoint.url})
    redeployed = []
    control = Redeploying(pubsub, lambda: redeployed.append(topic))
    with pytest.raises(ValueError, match="no snapshot"):
        control.act("restore", snapshot="")
    assert redeployed == [topic]
    assert isinstance(control.act("clock.now"), float)
    assert redeployed == [topic], "other acts change no subscription"
