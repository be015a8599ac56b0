"""What is billed, and to which trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.pubsub_v1.types import PublishRequest, PublishResponse, PubsubMessage, PullRequest, StreamingPullRequest
from hypothesis import given
from hypothesis import strategies as st

from emulator.pubsub.server import PubsubServer
from emulator.pubsub.usage import LEAST_BYTES, shares
from tests.emulator.pubsub.conftest import SIZES, Endpoint, Place

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def own() -> Iterator[PubsubServer]:
    """A server for one test alone."""
    with PubsubServer() as running:
        yield running


@pytest.fixture
def own_place(own: PubsubServer) -> Iterator[Place]:
    with grpc.insecure_channel(own.address, options=SIZES) as channel:
        yield Place(channel)


def parent(trace: str) -> str:
    return f"00-{trace}-{'1' * 16}-01"


def message(size: int, trace: str = "", name: str = "traceparent") -> PubsubMessage:
    """A message that is billed as so many bytes."""
    attributes = {name: parent(trace)} if trace else {}
    overhead = 36 + (len(name) + 55 if trace else 0)
    return PubsubMessage(data=b"x" * (size - overhead), attributes=attributes)


def line_of(own: PubsubServer, trace: str) -> Any:
    usage: Any = own.usage(trace=trace)
    (line,) = usage["traces"]["shown"]
    return line


def lines(own: PubsubServer) -> list[Any]:
    usage: Any = own.usage()
    return [*usage["traces"]["shown"], usage["traces"]["untraced"], usage["traces"]["older"]]


@given(st.lists(st.integers(min_value=36, max_value=2000), min_size=1, max_size=60))
def test_messages_share_the_bytes_of_a_request_fairly_and_without_a_rest(sizes: list[int]) -> None:
    billed = max(sum(sizes), LEAST_BYTES)
    each = shares(sizes)
    assert sum(each) == billed
    assert all(abs(share - billed * size / sum(sizes)) < 1 for share, size in zip(each, sizes, strict=True))


def test_a_publish_is_billed_to_the_traces_of_its_messages(own: PubsubServer, own_place: Place) -> None:
    topic = own_place.topic()
    messages = [message(200, A), message(200, B, "googclient_traceparent"), message(100)]
    own_place.publisher.publish(topic=topic, messages=messages)
    own_place.publisher.publish(topic=topic, messages=[message(300, A), message(1700, A)])
    publishes = [(line_of(own, trace)["publishes"], line_of(own, trace)["publishedBytes"]) for trace in (A, B)]
    assert publishes == [(1, 400 + 2000), (0, 400)]
    usage: Any = own.usage()
    assert usage["traces"]["untraced"]["publishedBytes"] == 200
    assert usage["traces"]["untraced"]["publishes"] == 1
    assert usage["byResource"][topic]["publishedBytes"] == 3000
    assert usage["totals"]["publishedMessages"] == 5


def test_a_message_without_a_trace_has_that_of_the_call_that_published_it(own: PubsubServer, own_place: Place) -> None:
    topic = own_place.topic()
    subscription = own_place.subscription(topic)
    publish = own_place.raw("Publisher/Publish", PublishRequest, PublishResponse)
    publish(
        PublishRequest(topic=topic, messages=[message(40), message(1000, B)]), metadata=[("traceparent", parent(A))]
    )
    own_place.pull(subscription, 1)
    line = line_of(own, A)
    assert (line["publishes"], line["publishedBytes"], line["deliveredBytes"], line["deliveries"]) == (1, 40, 1000, 1)
    assert line["byMethod"]["Publish"]["requests"] == 1


def test_a_pull_is_billed_at_least_once_and_by_message(own: PubsubServer, own_place: Place) -> None:
    topic = own_place.topic()
    subscription = own_place.subscription(topic)
    own_place.pull(subscription)
    own_place.publisher.publish(topic=topic, messages=[message(250, A), message(150, B)])
    own_place.pull(subscription)
    usage: Any = own.usage()
    assert usage["byMethod"]["Pull"]["deliveredBytes"] == 2 * LEAST_BYTES
    assert [line_of(own, trace)["deliveredBytes"] for trace in (A, B)] == [625, 375]
    assert usage["traces"]["untraced"]["deliveredBytes"] == LEAST_BYTES
    assert usage["traces"]["untraced"]["deliveries"] == 2


def test_a_stream_is_billed_by_message(own: PubsubServer, own_place: Place) -> None:
    topic = own_place.topic()
    subscription = own_place.subscription(topic)
    own_place.publisher.publish(topic=topic, messages=[message(2000, A), message(3000, B)])
    opening = StreamingPullRequest(subscription=subscription, stream_ack_deadline_seconds=10)
    caller = [("traceparent", parent(C))]
    stream: Any = own_place.subscriber.streaming_pull(requests=iter([opening]), metadata=caller)
    assert len(next(each for each in stream if each.received_messages).received_messages) == 2
    stream.cancel()
    streamed = [line_of(own, trace)["byMethod"]["StreamingPull"]["deliveredBytes"] for trace in (A, B)]
    assert streamed == [2000, 3000]
    line = line_of(own, C)["byMethod"]["StreamingPull"]
    assert (line["requests"], line["deliveries"], line["deliveredBytes"]) == (1, 1, 0)


def test_each_push_is_billed_to_its_message(
    own: PubsubServer, own_place: Place, endpoint: Endpoint, eventually: Callable[..., object]
) -> None:
    topic = own_place.topic()
    endpoint.statuses = [500]
    own_place.subscription(topic, push_config={"push_endpoint": endpoint.url})
    own_place.publisher.publish(topic=topic, messages=[message(200, A)])
    eventually(lambda: len(endpoint.received) == 2)
    line = line_of(own, A)["byMethod"]["Push"]
    assert (line["deliveries"], line["deliveredMessages"], line["deliveredBytes"]) == (2, 2, 2 * LEAST_BYTES)


def test_what_a_filter_drops_is_billed_apart(own: PubsubServer, own_place: Place) -> None:
    topic = own_place.topic()
    subscription = own_place.subscription(topic, filter='attributes.agent = "x"')
    own_place.publisher.publish(topic=topic, messages=[message(200, A), message(3000, A)])
    assert own_place.pull(subscription) == []
    line = line_of(own, A)
    assert (line["filteredMessages"], line["filteredBytes"], line["deliveries"]) == (2, LEAST_BYTES + 3000, 0)
    usage: Any = own.usage()
    assert usage["byResource"][subscription]["filteredBytes"] == LEAST_BYTES + 3000


def test_a_dead_letter_is_a_publish_of_the_message_s_trace(own: PubsubServer, own_place: Place) -> None:
    topic, dead = own_place.topic(), own_place.topic()
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = own_place.subscription(topic, dead_letter_policy=policy)
    own_place.publisher.publish(topic=topic, messages=[message(200, A)])
    for _ in range(5):
        own_place.nack(subscription, own_place.pull(subscription))
    assert line_of(own, A)["byMethod"]["DeadLetter"]["publishedMessages"] == 1


def test_whatever_is_published_and_delivered_the_lines_add_up_to_the_totals(
    own: PubsubServer, own_place: Place
) -> None:
    topic = own_place.topic()
    subscription = own_place.subscription(topic)
    for number in range(1, 30):
        trace = "" if number % 5 == 0 else f"{number % 4 + 1:032x}"
        own_place.publisher.publish(topic=topic, messages=[message(97 + number, trace)] * (number % 7 + 1))
        own_place.pull(subscription, number)
    usage: Any = own.usage()
    for kind, total in usage["totals"].items():
        if kind != "costMicroUsd":
            assert sum(line[kind] for line in lines(own)) == total, kind
    costs = [round(float(line["costMicroUsd"]) * 1e6) for line in lines(own)]
    assert abs(sum(costs) - round(float(usage["totals"]["costMicroUsd"]) * 1e6)) <= len(costs)


def test_a_reset_forgets_the_traces(own: PubsubServer, own_place: Place) -> None:
    own_place.publisher.publish(topic=own_place.topic(), messages=[message(200, A)])
    own.reset()
    usage: Any = own.usage()
    assert (usage["traces"]["kept"], usage["totals"]["requests"], usage["byResource"]) == (0, 0, {})


def test_a_wrong_question_is_refused(own: PubsubServer) -> None:
    with pytest.raises(ValueError, match="no prices for 'mars'"):
        own.usage(location="mars")


def test_pulling_for_the_client_s_trace_belongs_to_it(own: PubsubServer, own_place: Place) -> None:
    subscription = own_place.subscription(own_place.topic())
    asked = PullRequest(subscription=subscription, max_messages=1, return_immediately=True)
    own_place.raw("Subscriber/Pull", PullRequest)(asked, metadata=[("x-cloud-trace-context", f"{A}/12;o=1")])
    assert line_of(own, A)["deliveredBytes"] == LEAST_BYTES
