from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    GoogleAPICallError,
    InvalidArgument,
    NotFound,
    OutOfRange,
)
from google.pubsub_v1.types import PubsubMessage
from grpc import StatusCode

from tests.emulator.pubsub.conftest import Place

Refusal = Callable[[Callable[[], object]], GoogleAPICallError]


@pytest.mark.parametrize("name", ["ab", "1abc", "googabc", "a b c", "a" * 256, "ä" * 5, ""])
def test_a_wrong_name_is_refused(place: Place, name: str) -> None:
    full = f"{place.project}/topics/{name}"
    with pytest.raises(InvalidArgument) as caught:
        place.publisher.create_topic(name=full)
    assert caught.value.message == f"Invalid [topics] name: (name={full})"


@pytest.mark.parametrize("name", ["abc", "a" * 255, "A.b_c~d+e%f-g"])
def test_a_right_name_is_taken(place: Place, name: str) -> None:
    assert place.topic(name=place.name("topics", name)).endswith(name)


@pytest.mark.parametrize("name", ["x", "", "projects/p/topics/", "projects/p/nothing/abc"])
def test_a_name_that_nothing_can_have_is_refused_and_not_looked_for(place: Place, name: str) -> None:
    calls: dict[str, list[Callable[[], object]]] = {
        "topics": [
            lambda: place.publisher.get_topic(topic=name),
            lambda: place.publisher.delete_topic(topic=name),
            lambda: place.publish(name, "a"),
            lambda: place.publisher.update_topic(request={"topic": {"name": name}}),
            lambda: place.subscription(name),
        ],
        "subscriptions": [
            lambda: place.subscriber.pull(subscription=name, max_messages=1),
            lambda: place.subscriber.get_subscription(subscription=name),
            lambda: place.subscriber.acknowledge(subscription=name, ack_ids=["a"]),
            lambda: place.subscriber.update_subscription(request={"subscription": {"name": name}}),
        ],
        "snapshots": [lambda: place.subscriber.get_snapshot(snapshot=name)],
        "schemas": [lambda: place.schemas.get_schema(name=name)],
    }
    for kind, kind_calls in calls.items():
        for call in kind_calls:
            with pytest.raises(GoogleAPICallError) as caught:
                call()
            assert caught.value.grpc_status_code is StatusCode.INVALID_ARGUMENT
            assert caught.value.message.startswith(f"Invalid [{kind}] name: (name={name})")


def test_topics_exist_once_and_can_be_deleted(place: Place) -> None:
    topic = place.topic()
    with pytest.raises(AlreadyExists, match="Topic already exists"):
        place.topic(name=topic)
    place.publisher.delete_topic(topic=topic)
    for call in (place.publisher.get_topic, place.publisher.delete_topic):
        with pytest.raises(NotFound, match="Topic not found"):
            call(topic=topic)
    with pytest.raises(NotFound):
        place.publish(topic, "a")


def test_the_subscription_of_a_deleted_topic_keeps_its_messages_and_ignores_a_new_topic(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    place.publisher.delete_topic(topic=topic)
    assert place.settings(subscription).topic == "_deleted-topic_"
    place.topic(name=topic)
    place.publish(topic, "b")
    assert place.texts(subscription) == ["a"]


def test_lists_come_in_pages(place: Place) -> None:
    topics = sorted(place.topic() for _ in range(5))
    pages = place.publisher.list_topics(request={"project": place.project, "page_size": 2})
    assert [[topic.name for topic in page.topics] for page in pages.pages] == [topics[:2], topics[2:4], topics[4:]]
    subscriptions = sorted(place.subscription(topics[0]) for _ in range(3))
    listed = place.publisher.list_topic_subscriptions(request={"topic": topics[0], "page_size": 2})
    assert list(listed) == subscriptions
    assert [one.name for one in place.subscriber.list_subscriptions(project=place.project)] == subscriptions


@pytest.mark.parametrize(("size", "token"), [(-1, ""), (0, "no token"), (0, "////")])
def test_a_wrong_page_is_refused(place: Place, size: int, token: str) -> None:
    with pytest.raises(InvalidArgument):
        place.publisher.list_topics(request={"project": place.project, "page_size": size, "page_token": token})


def test_what_is_left_out_gets_its_default(place: Place) -> None:
    settings = place.settings(place.subscription(place.topic()))
    assert settings.ack_deadline_seconds == 10
    assert settings.message_retention_duration.total_seconds() == 7 * 86400  # type: ignore[attr-defined]
    assert settings.expiration_policy.ttl.total_seconds() == 31 * 86400  # type: ignore[attr-defined]
    assert settings.state.name == "ACTIVE"


@pytest.mark.parametrize(
    "wrong",
    [
        {"ack_deadline_seconds": 9},
        {"ack_deadline_seconds": 601},
        {"ack_deadline_seconds": -1},
        {"message_retention_duration": "599s"},
        {"message_retention_duration": "2678401s"},
        {"expiration_policy": {"ttl": "3600s"}},
        {"retry_policy": {"minimum_backoff": "601s"}},
        {"retry_policy": {"minimum_backoff": "50s", "maximum_backoff": "5s"}},
        {"filter": "colour = red"},
        {"filter": 'attributes.a = "' + "x" * 250 + '"'},
        {"labels": {"Upper": "case"}},
    ],
)
def test_a_setting_out_of_bounds_is_refused(place: Place, wrong: dict[str, Any]) -> None:
    topic = place.topic()
    with pytest.raises(InvalidArgument):
        place.subscription(topic, **wrong)
    assert list(place.publisher.list_topic_subscriptions(topic=topic)) == []


@pytest.mark.parametrize("attempts", [4, 101, -1])
def test_dead_letter_attempts_lie_between_5_and_100(place: Place, attempts: int) -> None:
    topic = place.topic()
    with pytest.raises(OutOfRange, match=f"You passed {attempts} in the request"):
        place.subscription(topic, dead_letter_policy={"dead_letter_topic": topic, "max_delivery_attempts": attempts})


def test_a_missing_topic_or_dead_letter_topic_is_not_found(place: Place) -> None:
    topic, missing = place.topic(), place.name("topics")
    with pytest.raises(NotFound, match="Subscription topic does not exist"):
        place.subscription(missing)
    with pytest.raises(NotFound, match="Dead letter topic not found"):
        place.subscription(topic, dead_letter_policy={"dead_letter_topic": missing})


def test_update_changes_what_the_mask_names_and_nothing_else(place: Place) -> None:
    subscription = place.subscription(place.topic(), labels={"old": "1"}, ack_deadline_seconds=20)
    wanted = {"name": subscription, "ack_deadline_seconds": 30, "labels": {"new": "2"}, "retain_acked_messages": True}
    mask = {"paths": ["labels", "retain_acked_messages"]}
    changed = place.subscriber.update_subscription(request={"subscription": wanted, "update_mask": mask})
    assert changed == place.settings(subscription)
    assert (changed.ack_deadline_seconds, dict(changed.labels), changed.retain_acked_messages) == (
        20,
        {"new": "2"},
        True,
    )


@pytest.mark.parametrize("path", ["name", "topic", "filter", "enable_message_ordering", "nonsense", "retry_policy.x"])
def test_some_fields_cannot_be_updated(place: Place, path: str) -> None:
    subscription = place.subscription(place.topic())
    with pytest.raises(InvalidArgument, match="Invalid update_mask"):
        place.subscriber.update_subscription(
            request={"subscription": {"name": subscription}, "update_mask": {"paths": [path]}}
        )


def test_an_update_needs_a_mask(place: Place) -> None:
    topic = place.topic()
    with pytest.raises(InvalidArgument, match="non-empty paths list"):
        place.publisher.update_topic(request={"topic": {"name": topic}, "update_mask": {}})


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "No messages to publish"),
        ([{}], "Some messages are empty"),
        ([{"data": b"a"}, {"ordering_key": "k"}], "Some messages are empty"),
        ([{"data": b"a"}] * 1001, "Too many messages"),
        ([{"data": b"a", "attributes": {str(n): "" for n in range(101)}}], "101 attributes"),
        ([{"data": b"a", "attributes": {"k" * 257: ""}}], "key is too long"),
        ([{"data": b"a", "attributes": {"k": "ä" * 513}}], "too long"),
        ([{"data": b"a", "attributes": {"": "v"}}], "key is empty"),
        ([{"data": b"a", "attributes": {"googy": "v"}}], "reserved prefix"),
        ([{"data": b"a", "ordering_key": "k" * 1025}], "ordering key is too long"),
        ([{"data": b"a" * 10_000_001}], "payload size"),
    ],
)
def test_what_cannot_be_published(place: Place, messages: list[Any], said: str) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    with pytest.raises(InvalidArgument, match=said):
        place.publisher.publish(topic=topic, messages=[PubsubMessage(one) for one in messages])
    assert place.pull(subscription) == []


def test_the_largest_messages_pass(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "x" * 9_990_000)
    place.publish(topic, "a", **{"k" * 256: "v" * 1024}, **{str(number): "" for number in range(99)})
    assert [len(one.message.data) for one in [*place.pull(subscription), *place.pull(subscription)]] == [9_990_000, 1]


def test_a_detached_subscription_is_empty_and_refuses_pulls(place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    place.publisher.detach_subscription(request={"subscription": subscription})
    assert place.settings(subscription).detached
    assert list(place.publisher.list_topic_subscriptions(topic=topic)) == []
    with pytest.raises(FailedPrecondition):
        place.subscriber.pull(subscription=subscription, max_messages=1)
    with pytest.raises(FailedPrecondition):
        place.subscriber.seek(request={"subscription": subscription, "time": {"seconds": 1}})


def test_policies_are_stored_and_permissions_granted(place: Place) -> None:
    topic = place.topic()
    empty = place.publisher.get_iam_policy(request={"resource": topic})
    assert not empty.bindings
    bindings = [{"role": "roles/pubsub.publisher", "members": ["user:a@b.c"]}]
    place.publisher.set_iam_policy(request={"resource": topic, "policy": {"bindings": bindings}})
    kept = place.publisher.get_iam_policy(request={"resource": topic})
    assert [binding.role for binding in kept.bindings] == ["roles/pubsub.publisher"]
    wanted = ["pubsub.topics.publish", "pubsub.topics.get"]
    tested = place.publisher.test_iam_permissions(request={"resource": topic, "permissions": wanted})
    assert list(tested.permissions) == wanted
    with pytest.raises(NotFound):
        place.publisher.get_iam_policy(request={"resource": place.name("topics")})
