from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import InvalidArgument

from emulator.pubsub.server import PubsubOptions, PubsubServer
from tests.emulator.pubsub.conftest import Endpoint, Place, fake_token

Eventually = Callable[..., Any]


def claims(authorization: str) -> Any:
    body = authorization.removeprefix("Bearer ").split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=="))


def test_a_push_carries_the_envelope_and_a_204_acks_it(
    place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, push_config={"push_endpoint": endpoint.url})
    (message_id,) = place.publish(topic, "hello", colour="red")
    (delivery,) = eventually(lambda: endpoint.received)
    assert delivery.envelope["subscription"] == subscription
    assert delivery.envelope["message"]["data"] == base64.b64encode(b"hello").decode()
    assert delivery.envelope["message"]["attributes"] == {"colour": "red"}
    assert delivery.envelope["message"]["messageId"] == message_id
    assert "deliveryAttempt" not in delivery.envelope
    assert "Authorization" not in delivery.headers
    time.sleep(0.3)
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("audience", ["", "https://else.where"])
def test_the_token_names_the_account_and_the_audience_or_the_endpoint(
    place: Place, endpoint: Endpoint, eventually: Eventually, audience: str
) -> None:
    topic = place.topic()
    token = {"service_account_email": "push@p.iam", "audience": audience}
    place.subscription(topic, push_config={"push_endpoint": endpoint.url, "oidc_token": token})
    place.publish(topic, "a")
    (delivery,) = eventually(lambda: endpoint.received)
    said = claims(delivery.headers["Authorization"])
    assert (said["aud"], said["email"]) == (audience or endpoint.url, "push@p.iam")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_acks(place: Place, endpoint: Endpoint, eventually: Eventually, status: int) -> None:
    endpoint.otherwise = status
    topic = place.topic()
    place.subscription(topic, push_config={"push_endpoint": endpoint.url})
    place.publish(topic, "a")
    eventually(lambda: endpoint.received)
    time.sleep(0.3)
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("status", [302, 400, 403, 409, 429, 500, 503])
def test_anything_else_is_pushed_again_after_100_ms_and_more(
    place: Place, endpoint: Endpoint, eventually: Eventually, status: int
) -> None:
    endpoint.statuses = [status, status]
    topic = place.topic()
    place.subscription(topic, push_config={"push_endpoint": endpoint.url})
    place.publish(topic, "a")
    eventually(lambda: len(endpoint.received) == 3)
    first, second, third = (delivery.time for delivery in endpoint.received)
    assert second - first >= 0.09
    assert third - second >= 0.19


def test_attempts_are_counted_and_the_last_failure_goes_to_the_dead_letter_topic(
    place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    endpoint.otherwise = 500
    topic, grave = place.topic(), place.topic()
    dead = place.subscription(grave)
    subscription = place.subscription(
        topic,
        push_config={"push_endpoint": endpoint.url},
        dead_letter_policy={"dead_letter_topic": grave, "max_delivery_attempts": 5},
        retry_policy={"minimum_backoff": "0.01s", "maximum_backoff": "0.02s"},
    )
    place.publish(topic, "a", colour="red")
    (received,) = eventually(lambda: place.pull(dead))
    assert [delivery.envelope["deliveryAttempt"] for delivery in endpoint.received] == [1, 2, 3, 4, 5]
    assert received.message.data == b"a"
    attributes = dict(received.message.attributes)
    assert attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime")
    assert attributes == {
        "colour": "red",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": subscription.rsplit("/", 1)[-1],
        "CloudPubSubDeadLetterSourceSubscriptionProject": place.project.removeprefix("projects/"),
    }


def test_the_filter_decides_what_is_pushed(place: Place, endpoint: Endpoint, eventually: Eventually) -> None:
    topic = place.topic()
    place.subscription(topic, push_config={"push_endpoint": endpoint.url}, filter='attributes.colour = "red"')
    place.publish(topic, "blue", colour="blue")
    place.publish(topic, "red", colour="red")
    (delivery,) = eventually(lambda: endpoint.received)
    assert delivery.envelope["message"]["attributes"] == {"colour": "red"}


def test_no_answer_within_the_ack_deadline_is_a_failure_and_runs_beside_the_others(
    place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    endpoint.delay = 0.2
    topic = place.topic()
    place.subscription(topic, push_config={"push_endpoint": endpoint.url})
    place.publish(topic, *"abcdefghijkl")
    eventually(lambda: len(endpoint.received) == 12)
    assert 4 <= endpoint.most_running <= 8


def test_with_ordering_one_message_of_a_key_is_pushed_at_a_time_and_in_order(
    place: Place, endpoint: Endpoint, eventually: Eventually
) -> None:
    endpoint.statuses = [204, 500, 204]
    endpoint.delay = 0.01
    topic = place.topic()
    place.subscription(topic, push_config={"push_endpoint": endpoint.url}, enable_message_ordering=True)
    place.publish(topic, *"abcd", key="k")
    eventually(lambda: len(endpoint.received) == 5)
    pushed = [base64.b64decode(one.envelope["message"]["data"]).decode() for one in endpoint.received]
    assert pushed == ["a", "b", "b", "c", "d"]
    assert endpoint.most_running == 1


def test_a_bare_push_is_the_data_alone(place: Place, endpoint: Endpoint, eventually: Eventually) -> None:
    topic = place.topic()
    place.subscription(topic, push_config={"push_endpoint": endpoint.url, "no_wrapper": {}})
    place.publish(topic, "hello", colour="red")
    (delivery,) = eventually(lambda: endpoint.received)
    assert delivery.body == b"hello"
    assert not [name for name in delivery.headers if name.lower() in {"colour", "x-goog-pubsub-message-id"}]


def test_a_bare_push_with_metadata_has_it_in_headers(place: Place, endpoint: Endpoint, eventually: Eventually) -> None:
    topic = place.topic()
    subscription = place.subscription(
        topic, push_config={"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": True}}
    )
    (message_id,) = place.publish(topic, "hello", colour="red", odd="a\nb")
    (delivery,) = eventually(lambda: endpoint.received)
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    assert headers["colour"] == "red"
    assert headers["x-goog-pubsub-message-id"] == message_id
    assert headers["x-goog-pubsub-subscription-name"] == subscription
    assert headers["x-goog-pubsub-publish-time"].endswith("Z")
    assert "odd" not in headers


def test_push_begins_and_ends_with_modify_push_config(place: Place, endpoint: Endpoint, eventually: Eventually) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "before")
    push = {"push_endpoint": endpoint.url}
    place.subscriber.modify_push_config(request={"subscription": subscription, "push_config": push})
    eventually(lambda: endpoint.received)
    time.sleep(0.1)
    place.subscriber.modify_push_config(request={"subscription": subscription, "push_config": {}})
    place.publish(topic, "after")
    assert place.texts(subscription) == ["after"]
    assert len(endpoint.received) == 1


def test_a_server_stops_at_once_though_an_endpoint_hangs(endpoint: Endpoint, eventually: Eventually) -> None:
    endpoint.delay = 3
    with PubsubServer() as own, grpc.insecure_channel(own.address) as channel:
        place = Place(channel)
        topic = place.topic()
        place.subscription(topic, push_config={"push_endpoint": endpoint.url})
        place.publish(topic, "a")
        eventually(lambda: endpoint.received)
        begun = time.monotonic()
        own.stop()
        assert time.monotonic() - begun < 2


def test_a_mint_that_fails_fails_the_push(endpoint: Endpoint, eventually: Eventually) -> None:
    calls: list[str] = []

    def mint(_audience: str, email: str) -> str:
        calls.append(email)
        if len(calls) == 1:
            raise LookupError(email)
        return fake_token({"email": email})

    with PubsubServer(PubsubOptions(mint=mint)) as own, grpc.insecure_channel(own.address) as channel:
        place = Place(channel)
        topic = place.topic()
        token = {"service_account_email": "push@p.iam"}
        place.subscription(topic, push_config={"push_endpoint": endpoint.url, "oidc_token": token})
        place.publish(topic, "a")
        eventually(lambda: endpoint.received)
    assert calls == ["push@p.iam"] * 2


@pytest.mark.parametrize("url", ["nowhere", "ftp://example.org/", "http:///path"])
def test_an_endpoint_that_is_no_url_is_refused(place: Place, url: str) -> None:
    topic = place.topic()
    with pytest.raises(InvalidArgument, match="Unsupported push_endpoint"):
        place.subscription(topic, push_config={"push_endpoint": url})
