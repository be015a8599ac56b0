from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument, NotFound

from emulator.pubsub.server import PubsubServer
from tests.emulator.pubsub.conftest import Place


def test_what_is_published_is_pulled_with_id_time_and_attributes(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    (message_id,) = place.publish(topic, "hello", colour="red")
    (received,) = place.pull(subscription)
    assert received.message.data == b"hello"
    assert received.message.message_id == message_id
    assert dict(received.message.attributes) == {"colour": "red"}
    assert abs(received.message.publish_time.timestamp() - server.clock.now()) < 60  # type: ignore[attr-defined]
    assert received.delivery_attempt == 0


def test_every_subscription_gets_every_message_and_a_later_one_none(place: Place) -> None:
    topic = place.topic()
    first, second = place.subscription(topic), place.subscription(topic)
    place.publish(topic, "a", "b")
    assert place.texts(first) == place.texts(second) == ["a", "b"]
    assert place.texts(place.subscription(topic)) == []


def test_a_leased_message_is_not_given_to_another_pull(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a", "b", "c")
    assert place.texts(subscription, 2) == ["a", "b"]
    assert place.texts(subscription) == ["c"]
    assert place.texts(subscription) == []


def test_an_acked_message_never_comes_back(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    place.ack(subscription, place.pull(subscription))
    server.advance(700)
    assert place.texts(subscription) == []


def test_a_message_comes_back_when_its_deadline_passes_with_another_ack_id(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, ack_deadline_seconds=30)
    place.publish(topic, "a")
    (first,) = place.pull(subscription)
    server.advance(25)
    assert place.pull(subscription) == []
    server.advance(6)
    (second,) = place.pull(subscription)
    assert second.message.message_id == first.message.message_id
    assert second.ack_id != first.ack_id


def test_a_nacked_message_comes_back_at_once(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    place.nack(subscription, place.pull(subscription))
    assert place.texts(subscription) == ["a"]


def test_a_deadline_can_be_extended(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    place.nack(subscription, place.pull(subscription), seconds=120)
    server.advance(100)
    assert place.texts(subscription) == []
    server.advance(21)
    assert place.texts(subscription) == ["a"]


def test_a_late_ack_still_counts(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    received = place.pull(subscription)
    server.advance(11)
    place.ack(subscription, received)
    assert place.texts(subscription) == []


def test_a_waiting_pull_is_answered_as_soon_as_a_message_arrives(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(place.subscriber.pull, subscription=subscription, max_messages=5, timeout=20)
        time.sleep(0.1)
        assert not waiting.done()
        begun = time.monotonic()
        place.publish(topic, "a")
        (received,) = waiting.result(5).received_messages
        assert received.message.data == b"a"
        assert time.monotonic() - begun < 1


def test_a_waiting_pull_ends_empty_within_its_deadline(place: Place) -> None:
    subscription = place.subscription(place.topic())
    answer = place.subscriber.pull(subscription=subscription, max_messages=5, timeout=0.5, retry=None)
    assert not answer.received_messages


def test_a_pull_that_was_cancelled_takes_no_message(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    pull = place.raw("Subscriber/Pull")
    request = b"\n" + bytes([len(subscription)]) + subscription.encode() + b"\x18\x05"
    waiting = pull.future(request)
    time.sleep(0.1)
    waiting.cancel()
    time.sleep(0.1)
    place.publish(topic, "a")
    assert place.texts(subscription) == ["a"]


def test_a_waiting_pull_fails_when_its_subscription_is_deleted(place: Place) -> None:
    subscription = place.subscription(place.topic())
    failures: list[Exception] = []

    def wait() -> None:
        try:
            place.subscriber.pull(subscription=subscription, max_messages=1, timeout=10, retry=None)
        except GoogleAPICallError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    place.subscriber.delete_subscription(subscription=subscription)
    thread.join(5)
    assert [type(one) for one in failures] == [NotFound]


def test_ack_ids_of_another_subscription_or_of_nobody_are_invalid(place: Place) -> None:
    topic = place.topic()
    one, other = place.subscription(topic), place.subscription(topic)
    place.publish(topic, "a")
    received = place.pull(one)
    with pytest.raises(InvalidArgument, match="Invalid ack id"):
        place.ack(other, received)
    for ack_id in ("", "nonsense", f"{one}:", f"{one}:1", f"{one}:x-1", f"{one}:²-1"):
        with pytest.raises(InvalidArgument, match="Invalid ack id"):
            place.subscriber.acknowledge(subscription=one, ack_ids=[ack_id])


def test_one_wrong_ack_id_spoils_the_whole_request(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    (received,) = place.pull(subscription)
    with pytest.raises(InvalidArgument):
        place.subscriber.acknowledge(subscription=subscription, ack_ids=[received.ack_id, "nonsense"])
    place.nack(subscription, [received])
    assert place.texts(subscription) == ["a"]


def test_an_ack_id_may_be_repeated(place: Place, server: PubsubServer) -> None:
    topic, grave = place.topic(), place.topic()
    dead = place.subscription(grave)
    policy = {"dead_letter_topic": grave, "max_delivery_attempts": 5}
    subscription = place.subscription(topic, dead_letter_policy=policy)
    place.publish(topic, "a", "b")
    place.ack(subscription, place.pull(subscription)[1:] * 3)
    server.advance(11)
    for _ in range(4):
        place.nack(subscription, place.pull(subscription) * 3)
    assert place.texts(dead) == ["a"]


@pytest.mark.parametrize("seconds", [-1, 601])
def test_a_deadline_out_of_bounds_is_refused(place: Place, seconds: int) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    with pytest.raises(InvalidArgument):
        place.nack(subscription, place.pull(subscription), seconds=seconds)


def test_many_threads_get_each_message_once(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    wanted = [str(number) for number in range(200)]
    for number in range(0, 200, 10):
        place.publish(topic, *wanted[number : number + 10])

    def work(_: int) -> list[str]:
        mine: list[str] = []
        while received := place.pull(subscription, 7):
            place.ack(subscription, received)
            mine += [one.message.data.decode() for one in received]
        return mine

    with ThreadPoolExecutor(4) as threads:
        found = [text for mine in threads.map(work, range(4)) for text in mine]
    assert sorted(found) == sorted(wanted)
