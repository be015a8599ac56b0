"""What others publish reaches the streams, whatever happens to Pub/Sub meanwhile."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator

import pytest
from google.api_core import exceptions as google_errors

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.pubsub import PubsubPublisher
from agent_mesh.relay import Message
from agent_mesh.relay.fan_in import THREAD_NAME, FanIn, Pace
from agent_mesh.relay.live_topic import as_published, as_received
from agent_mesh.relay.own_subscription import Gone, OwnSubscriptions
from emulator.clouds import usual_cloud
from emulator.pubsub.protos import Topic
from emulator.pubsub_wire import PubSubWire
from tests.conftest import CloudAddresses

QUICK = Pace(pull_s=1.0, linger_s=0.2, longest_pause_s=0.2)


class Live:
    """The topic between instances, and what reached this one."""

    def __init__(self, wire: PubSubWire, pace: Pace = QUICK) -> None:
        self.project = f"live-{secrets.token_hex(4)}"
        self.topic = f"projects/{self.project}/topics/relay"
        self.wire = wire
        self.got: list[Message] = []
        self.caught_up = 0
        self.away = False
        subscriptions = OwnSubscriptions(f"projects/{self.project}/subscriptions/relay-", self.topic, "me")
        self.fan_in = FanIn(subscriptions, self.got.append, self._catch_up, pace)
        self.make_topic()

    def _catch_up(self) -> None:
        self.caught_up += 1
        if self.away:
            raise Unavailable("gone")

    def make_topic(self) -> None:
        self.wire.create_topic(Topic(name=self.topic))

    def publish(self, number: int, instance: str = "other") -> None:
        message = Message("t.a", number, number - 1, "{}")
        PubsubPublisher().publish(self.topic, [as_published(message, instance, "")])

    def subscriptions(self) -> list[str]:
        return [each.name for each in self.wire.subscriptions(self.project)]

    def numbers(self) -> list[int]:
        return [message.number for message in self.got]


@pytest.fixture
def live(local_cloud: CloudAddresses) -> Iterator[Live]:
    wire = PubSubWire(local_cloud.pubsub)
    made = Live(wire)
    yield made
    made.fan_in.stop()
    eventually(lambda: not running())
    wire.close()


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def eventually(look: Callable[[], object]) -> None:
    tries = threading.Event()
    for _ in range(400):
        if look():
            return
        tries.wait(0.05)
    raise AssertionError("it did not happen within 20 s")


def test_what_was_published_comes_back_as_it_was() -> None:
    message = Message("t.a", 7, 3, '{"text":"ü"}')
    published = as_published(message, "me", "somebody@example.com")
    assert published.attributes["caller"] == "somebody@example.com"
    assert as_received(published.data, published.attributes) == message


@pytest.mark.parametrize("attributes", [{}, {"topic": "a", "number": "x", "previous": "0"}, {"number": "1"}])
def test_what_is_no_message_of_the_relay_is_left_out(attributes: dict[str, str]) -> None:
    assert as_received(b"{}", attributes) is None
    assert as_received(b"\xff", {"topic": "a", "number": "1", "previous": "0"}) is None


@pytest.mark.skipif(usual_cloud() == "official", reason="Google's emulator ignores filters; the hub drops the repeat")
def test_an_instance_gets_what_others_publish_and_not_its_own(live: Live) -> None:
    live.fan_in.join()
    live.publish(1, "me")
    live.publish(2)
    eventually(lambda: live.got)
    assert live.numbers() == [2]


def test_nothing_is_lost_that_is_published_once_a_stream_has_joined(live: Live) -> None:
    live.fan_in.join()
    for number in range(1, 200):
        live.publish(number)
    eventually(lambda: len(live.got) == 199)
    assert live.numbers() == list(range(1, 200))
    assert live.caught_up == 0


def test_without_streams_there_is_no_thread_and_no_subscription(live: Live) -> None:
    assert not running()
    live.fan_in.join()
    assert len(live.subscriptions()) == 1
    live.fan_in.leave()
    eventually(lambda: not running() and not live.subscriptions())
    live.fan_in.join()
    live.publish(1)
    eventually(lambda: live.got)


def test_a_subscription_that_somebody_deletes_is_made_again_and_the_gap_is_closed(live: Live) -> None:
    live.fan_in.join()
    live.wire.delete_subscription(live.subscriptions()[0])
    eventually(lambda: live.caught_up and live.subscriptions())
    live.publish(1)
    eventually(lambda: live.got)


def test_without_a_topic_the_history_is_read_until_there_is_one(live: Live) -> None:
    live.wire.delete_topic(live.topic)
    live.fan_in.join()
    eventually(lambda: live.caught_up > 2)
    live.make_topic()
    eventually(live.subscriptions)
    live.publish(1)
    eventually(lambda: live.got)


def test_the_thread_outlives_a_database_that_is_away_and_a_call_that_fails(live: Live) -> None:
    live.away = True
    live.fan_in.join()
    live.wire.delete_subscription(live.subscriptions()[0])
    eventually(lambda: live.caught_up > 1)
    live.away = False
    eventually(lambda: len(live.subscriptions()) == 1)
    live.publish(1)
    eventually(lambda: live.got)


def test_an_instance_that_stops_deletes_its_subscription_and_makes_no_other(live: Live) -> None:
    live.fan_in.join()
    live.fan_in.stop()
    eventually(lambda: not running())
    assert live.subscriptions() == []
    live.fan_in.join()
    assert not running()
    assert live.subscriptions() == []


def test_calls_about_a_subscription_say_whether_it_is_gone_or_pubsub_away(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriptions = OwnSubscriptions(f"projects/{live.project}/subscriptions/x-", live.topic, "me")
    subscription = subscriptions.new()
    with pytest.raises(Gone):
        subscription.pull(1.0)
    subscription.delete()
    subscription.create()
    subscription.create()
    assert not subscription.pull(0.3).messages
    subscription.delete()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    unreachable = OwnSubscriptions(f"projects/{live.project}/subscriptions/x-", live.topic, "me").new()
    for call in (unreachable.create, unreachable.delete, lambda: unreachable.acknowledge(["a"])):
        with pytest.raises(Unavailable):
            call()
    assert google_errors.ServiceUnavailable.code == 503
