from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.cloud.pubsub_v1 import SubscriberClient as HighLevelSubscriber  # type: ignore[import-untyped]
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage, StreamingPullRequest, StreamingPullResponse

from emulator.pubsub.server import PubsubServer
from tests.emulator.pubsub.conftest import Place

Eventually = Callable[..., Any]
_END = object()


class Stream:
    """One StreamingPull as a client sees it."""

    def __init__(self, channel: grpc.Channel, **first: Any) -> None:
        self._sent: queue.Queue[object] = queue.Queue()
        call = channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            request_serializer=StreamingPullRequest.serialize,
            response_deserializer=StreamingPullResponse.deserialize,
        )
        self.send(**{"stream_ack_deadline_seconds": 30, **first})
        self.answers = call(iter(self._sent.get, _END))

    def send(self, **request: Any) -> None:
        self._sent.put(StreamingPullRequest(**request))

    def next(self) -> StreamingPullResponse:
        return next(self.answers)  # type: ignore[no-any-return]

    def messages(self, count: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < count:
            found += self.next().received_messages
        return found

    def finish(self) -> None:
        self._sent.put(_END)

    def cancel(self) -> None:
        self.answers.cancel()
        self.finish()


@pytest.fixture
def open_stream(channel: grpc.Channel) -> Iterator[Callable[..., Stream]]:
    streams: list[Stream] = []

    def opened(**first: Any) -> Stream:
        streams.append(Stream(channel, **first))
        return streams[-1]

    yield opened
    for stream in streams:
        stream.cancel()


Opened = Callable[..., Stream]


def texts(received: list[Any]) -> list[str]:
    return [one.message.data.decode() for one in received]


def test_a_stream_brings_what_was_there_and_what_comes(place: Place, open_stream: Opened) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "before")
    stream = open_stream(subscription=subscription)
    assert texts(stream.messages(1)) == ["before"]
    place.publish(topic, "after")
    assert texts(stream.messages(1)) == ["after"]


def test_no_more_messages_than_the_flow_control_allows(place: Place, open_stream: Opened) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    stream = open_stream(subscription=subscription, max_outstanding_messages=2)
    place.publish(topic, *"abcd")
    held = stream.messages(2)
    time.sleep(0.1)
    assert place.texts(subscription) == ["c", "d"]
    place.publish(topic, "e")
    stream.send(ack_ids=[held[0].ack_id])
    assert texts(stream.messages(1)) == ["e"]


def test_no_more_bytes_than_the_flow_control_allows(place: Place, open_stream: Opened) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    stream = open_stream(subscription=subscription, max_outstanding_bytes=900)
    place.publish(topic, "a" * 900, "b" * 900)
    (held,) = stream.messages(1)
    time.sleep(0.1)
    assert place.texts(subscription) == ["b" * 900]
    stream.send(modify_deadline_ack_ids=[held.ack_id], modify_deadline_seconds=[0])
    assert texts(stream.messages(1)) == ["a" * 900]


def test_acks_and_nacks_on_the_stream(place: Place, open_stream: Opened, server: PubsubServer) -> None:
    topic = place.topic()
    stream = open_stream(subscription=place.subscription(topic))
    place.publish(topic, "a", "b")
    first, second = stream.messages(2)
    stream.send(ack_ids=[first.ack_id], modify_deadline_ack_ids=[second.ack_id], modify_deadline_seconds=[0])
    assert texts(stream.messages(1)) == ["b"]
    server.advance(40)
    assert texts(stream.messages(1)) == ["b"]


def test_two_streams_share_the_messages(place: Place, open_stream: Opened) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    streams = [open_stream(subscription=subscription, max_outstanding_messages=50) for _ in range(2)]
    for stream in streams:
        stream.next()
    place.publish(topic, *(str(number) for number in range(100)))
    found = [texts(stream.messages(50)) for stream in streams]
    assert sorted(map(int, found[0] + found[1])) == list(range(100))


def test_what_a_lost_client_held_comes_back_after_its_deadline(
    place: Place, open_stream: Opened, server: PubsubServer
) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    stream = open_stream(subscription=subscription)
    place.publish(topic, "a")
    stream.messages(1)
    stream.cancel()
    time.sleep(0.1)
    assert place.texts(subscription) == []
    assert server.call(lambda: len(server.broker.subscriptions[subscription].consumers)) == 0
    server.advance(31)
    assert place.texts(subscription) == ["a"]


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"subscription": ""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"subscription": "projects/p/subscriptions/none"}, grpc.StatusCode.NOT_FOUND),
        ({"stream_ack_deadline_seconds": 9}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"stream_ack_deadline_seconds": 601}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"modify_deadline_ack_ids": ["a"]}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"ack_ids": ["nonsense"]}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_wrong_first_request_ends_the_stream(
    place: Place, open_stream: Opened, first: dict[str, Any], code: grpc.StatusCode
) -> None:
    stream = open_stream(**{"subscription": place.subscription(place.topic()), **first})
    with pytest.raises(grpc.RpcError) as caught:
        stream.next()
    assert caught.value.code() is code


@pytest.mark.parametrize("later", [{"max_outstanding_messages": 5}, {"client_id": "x"}, {"subscription": "x"}])
def test_what_only_the_first_request_may_say(place: Place, open_stream: Opened, later: dict[str, Any]) -> None:
    stream = open_stream(subscription=place.subscription(place.topic()))
    stream.next()
    stream.send(**later)
    with pytest.raises(grpc.RpcError) as caught:
        stream.next()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_stream_ends_when_its_subscription_is_deleted_or_the_client_stops_sending(
    place: Place, open_stream: Opened
) -> None:
    subscription = place.subscription(place.topic())
    done, deleted = open_stream(subscription=subscription), open_stream(subscription=subscription)
    done.next()
    done.finish()
    with pytest.raises(StopIteration):
        done.next()
    deleted.next()
    place.subscriber.delete_subscription(subscription=subscription)
    with pytest.raises(grpc.RpcError) as caught:
        deleted.next()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_with_ordering_a_key_stays_on_one_stream_in_order(place: Place, open_stream: Opened) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, enable_message_ordering=True)
    first, second = (open_stream(subscription=subscription) for _ in range(2))
    assert first.next().subscription_properties.message_ordering_enabled
    second.next()
    place.publish(topic, "0", key="k")
    _, holder = _whoever(first, second)
    place.publish(topic, *(str(number) for number in range(1, 30)), key="k")
    assert texts(holder.messages(29)) == [str(number) for number in range(1, 30)]


def _whoever(*streams: Stream) -> tuple[Any, Stream]:
    """The first message that any of them gets, and which one got it."""
    found: queue.Queue[tuple[Any, Stream]] = queue.Queue()

    def look(stream: Stream) -> None:
        try:
            found.put((stream.messages(1), stream))
        except (grpc.RpcError, StopIteration):
            return

    for stream in streams:
        threading.Thread(target=look, args=(stream,), daemon=True).start()
    return found.get(timeout=5)


def test_exactly_once_confirms_acks_and_refuses_expired_ones(
    place: Place, open_stream: Opened, server: PubsubServer
) -> None:
    topic = place.topic()
    stream = open_stream(subscription=place.subscription(topic, enable_exactly_once_delivery=True))
    assert stream.next().subscription_properties.exactly_once_delivery_enabled
    place.publish(topic, "a", "b")
    good, late = stream.messages(2)
    stream.send(ack_ids=[good.ack_id])
    assert list(stream.next().acknowledge_confirmation.ack_ids) == [good.ack_id]
    server.advance(31)
    stream.messages(1)
    stream.send(ack_ids=[late.ack_id], modify_deadline_ack_ids=[late.ack_id], modify_deadline_seconds=[20])
    assert list(stream.next().modify_ack_deadline_confirmation.invalid_ack_ids) == [late.ack_id]
    assert list(stream.next().acknowledge_confirmation.invalid_ack_ids) == [late.ack_id]


def test_googles_high_level_client_receives_in_order(place: Place, channel: grpc.Channel) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, enable_message_ordering=True, enable_exactly_once_delivery=True)
    client = HighLevelSubscriber(transport=SubscriberGrpcTransport(channel=channel))
    found: list[str] = []

    def take(message: Any) -> None:
        found.append(message.data.decode())
        message.ack()

    pulling = client.subscribe(subscription, take)
    place.publish(topic, *(str(number) for number in range(50)), key="k")
    deadline = time.monotonic() + 10
    while len(found) < 50 and time.monotonic() < deadline:
        time.sleep(0.02)
    pulling.cancel()
    pulling.result(timeout=10)
    assert found == [str(number) for number in range(50)]


def test_a_stream_whose_client_has_said_all_at_once_gets_what_is_there_and_ends(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    opening = StreamingPullRequest(subscription=subscription, stream_ack_deadline_seconds=10)
    for number in range(200):
        text = f"message {number}".encode()
        place.publisher.publish(topic=topic, messages=[PubsubMessage(data=text)])
        answers = place.subscriber.streaming_pull(requests=iter([opening]), timeout=20)
        assert [each.message.data for answer in answers for each in answer.received_messages] == [text]
