"""Publishing through the official client, to Google's emulator and to nobody."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.api_core.retry import Retry
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import ReceivedMessage, Subscription, Topic

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform import pubsub
from agent_mesh.platform.pubsub import PUBLISH_LIMIT_BYTES, PUBLISH_LIMIT_MESSAGES, Message, PubsubPublisher
from tests.conftest import CloudAddresses

Pull = Callable[[int], list[ReceivedMessage]]


@pytest.fixture
def topic(local_cloud: CloudAddresses, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic of its own."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", local_cloud.pubsub)
    name = f"projects/p/topics/t{secrets.token_hex(6)}"
    with grpc.insecure_channel(local_cloud.pubsub) as channel:
        PublisherClient(transport=PublisherGrpcTransport(channel=channel)).create_topic(Topic(name=name))
    return name


@pytest.fixture
def pull(local_cloud: CloudAddresses, topic: str) -> Iterator[Pull]:
    """What was published on the topic."""
    name = topic.replace("/topics/", "/subscriptions/")
    with grpc.insecure_channel(local_cloud.pubsub) as channel:
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        subscriber.create_subscription(Subscription(name=name, topic=topic, ack_deadline_seconds=60))

        def receive(count: int) -> list[ReceivedMessage]:
            received: list[ReceivedMessage] = []
            while len(received) < count:
                received += subscriber.pull(subscription=name, max_messages=1000, timeout=20).received_messages
            return received

        yield receive


def test_messages_arrive_with_their_attributes_and_ids(topic: str, pull: Pull) -> None:
    ids = PubsubPublisher().publish(topic, [Message(b"one", {"agent": "é"}), Message(b"two")])
    received = pull(2)
    assert {(each.message.data, each.message.attributes.get("agent")) for each in received} == {
        (b"one", "é"),
        (b"two", None),
    }
    assert {each.message.message_id for each in received} == set(ids)


def test_more_than_one_call_takes_is_sent_in_several(topic: str) -> None:
    messages = [Message(str(number).encode()) for number in range(PUBLISH_LIMIT_MESSAGES + 1)]
    assert len(set(PubsubPublisher().publish(topic, messages))) == PUBLISH_LIMIT_MESSAGES + 1


def test_large_messages_are_sent_in_as_many_calls_as_it_takes(topic: str) -> None:
    assert len(PubsubPublisher().publish(topic, [Message(b"x" * 5_000_000) for _ in range(3)])) == 3


def test_the_limits_of_a_call_are_kept() -> None:
    """The emulator is more lenient than Google: what one call would carry is looked at here."""
    small = pubsub._chunks([Message(b"")] * (2 * PUBLISH_LIMIT_MESSAGES + 1))
    assert [len(chunk) for chunk in small] == [PUBLISH_LIMIT_MESSAGES, PUBLISH_LIMIT_MESSAGES, 1]
    large = pubsub._chunks([Message(b"x" * (PUBLISH_LIMIT_BYTES // 2))] * 3)
    assert all(sum(message.size for message in chunk) <= PUBLISH_LIMIT_BYTES for chunk in large)
    assert [len(chunk) for chunk in large] == [1, 1, 1]
    alone = pubsub._chunks([Message(b"x" * PUBLISH_LIMIT_BYTES), Message(b"y")])
    assert [len(chunk) for chunk in alone] == [1, 1]


def test_nothing_is_published_in_no_call() -> None:
    assert PubsubPublisher().publish("projects/p/topics/t", []) == []


def test_a_message_counts_its_attributes() -> None:
    assert Message(b"ab", {"key": "value"}).size >= 2 + 3 + 5


def test_a_topic_that_is_not_there_is_unavailable(local_cloud: CloudAddresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", local_cloud.pubsub)
    with pytest.raises(Unavailable) as refused:
        PubsubPublisher().publish("projects/p/topics/nowhere", [Message(b"a")])
    assert refused.value.retry_after_s == 1


def test_nobody_who_answers_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "_RETRY", Retry(initial=0.01, maximum=0.01, timeout=0.2))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(Unavailable):
            PubsubPublisher().publish("projects/p/topics/t", [Message(b"a")])


def test_without_an_emulator_the_official_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Client:
        def __init__(self) -> None:
            made.append("official")

        def publish(self, *_request: object, **_options: object) -> object:
            return type("Answer", (), {"message_ids": ["1"]})

    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(pubsub, "PublisherClient", Client)
    publisher = PubsubPublisher()
    assert made == []
    assert publisher.publish("t", [Message(b"a")]) + publisher.publish("t", [Message(b"b")]) == ["1", "1"]
    assert made == ["official"]
