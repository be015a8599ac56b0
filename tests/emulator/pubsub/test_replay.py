from __future__ import annotations

import datetime as dt

import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

from emulator.pubsub.server import PubsubServer
from tests.emulator.pubsub.conftest import Place

DAY = 86400


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def test_seeking_back_returns_acked_messages_that_are_retained(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, retain_acked_messages=True)
    place.publish(topic, "old")
    server.advance(5)
    between = server.clock.now()
    server.advance(5)
    place.publish(topic, "new")
    place.ack(subscription, place.pull(subscription))
    place.subscriber.seek(request={"subscription": subscription, "time": at(between)})
    assert place.texts(subscription) == ["new"]
    place.subscriber.seek(request={"subscription": subscription, "time": at(between - 60)})
    assert place.texts(subscription) == ["old", "new"]


def test_seeking_forward_acks_what_was_published_before(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    server.advance(1)
    place.subscriber.seek(request={"subscription": subscription, "time": at(server.clock.now())})
    server.advance(1)
    place.publish(topic, "b")
    assert place.texts(subscription) == ["b"]
    place.subscriber.seek(request={"subscription": subscription, "time": at(server.clock.now() - 60)})
    assert place.texts(subscription) == ["b"]


def test_seeking_to_the_future_acks_what_is_published_until_then(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.subscriber.seek(request={"subscription": subscription, "time": at(server.clock.now() + 60)})
    place.publish(topic, "before")
    server.advance(61)
    place.publish(topic, "after")
    assert place.texts(subscription) == ["after"]


def test_a_topic_that_retains_serves_subscriptions_that_came_later(place: Place, server: PubsubServer) -> None:
    topic = place.topic(message_retention_duration="3600s")
    place.publish(topic, "red", colour="red")
    place.publish(topic, "blue", colour="blue")
    subscription = place.subscription(topic, filter='attributes.colour = "red"')
    assert place.settings(subscription).topic_message_retention_duration.total_seconds() == 3600  # type: ignore[attr-defined]
    place.subscriber.seek(request={"subscription": subscription, "time": at(server.clock.now() - 60)})
    assert place.texts(subscription) == ["red"]


def test_a_snapshot_holds_what_was_unacked_and_what_came_after(place: Place) -> None:
    topic = place.topic()
    subscription, other = place.subscription(topic), place.subscription(topic)
    place.publish(topic, "acked", "open")
    place.ack(subscription, place.pull(subscription, 1))
    snapshot = place.name("snapshots")
    place.subscriber.create_snapshot(request={"name": snapshot, "subscription": subscription})
    place.ack(subscription, place.pull(subscription))
    place.publish(topic, "later")
    place.ack(subscription, place.pull(subscription))
    for one in (subscription, other):
        place.subscriber.seek(request={"subscription": one, "snapshot": snapshot})
        assert place.texts(one) == ["open", "later"]


def test_snapshots_are_listed_updated_and_deleted(place: Place) -> None:
    topic = place.topic()
    subscription, name = place.subscription(topic), place.name("snapshots")
    made = place.subscriber.create_snapshot(request={"name": name, "subscription": subscription})
    assert made.topic == topic
    with pytest.raises(AlreadyExists):
        place.subscriber.create_snapshot(request={"name": name, "subscription": subscription})
    assert [one.name for one in place.subscriber.list_snapshots(project=place.project)] == [name]
    assert list(place.publisher.list_topic_snapshots(topic=topic)) == [name]
    labelled = {"snapshot": {"name": name, "labels": {"a": "b"}}, "update_mask": {"paths": ["labels"]}}
    assert dict(place.subscriber.update_snapshot(request=labelled).labels) == {"a": "b"}
    place.subscriber.delete_snapshot(snapshot=name)
    with pytest.raises(NotFound):
        place.subscriber.get_snapshot(snapshot=name)


def test_a_snapshot_lives_a_week_less_the_age_of_its_oldest_message(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    server.advance(2 * DAY)
    request = {"name": place.name("snapshots"), "subscription": subscription}
    made = place.subscriber.create_snapshot(request=request)
    assert made.expire_time.timestamp() - server.clock.now() == pytest.approx(5 * DAY, abs=60)  # type: ignore[attr-defined]
    server.advance(5 * DAY - 1800)
    with pytest.raises(FailedPrecondition):
        place.subscriber.create_snapshot(request={"name": place.name("snapshots"), "subscription": subscription})
    server.advance(3600)
    with pytest.raises(NotFound):
        place.subscriber.get_snapshot(snapshot=request["name"])


def test_a_snapshot_of_another_topic_cannot_be_sought(place: Place) -> None:
    subscription, other = place.subscription(place.topic()), place.subscription(place.topic())
    name = place.name("snapshots")
    place.subscriber.create_snapshot(request={"name": name, "subscription": subscription})
    with pytest.raises(FailedPrecondition):
        place.subscriber.seek(request={"subscription": other, "snapshot": name})
    with pytest.raises(InvalidArgument):
        place.subscriber.seek(request={"subscription": other})


def test_messages_older_than_the_retention_are_gone(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic, message_retention_duration="600s")
    place.publish(topic, "old")
    server.advance(400)
    place.publish(topic, "young")
    server.advance(220)
    assert place.texts(subscription) == ["young"]


def test_an_unused_subscription_expires(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    unused = place.subscription(topic, expiration_policy={"ttl": "86400s"})
    used = place.subscription(topic, expiration_policy={"ttl": "86400s"})
    eternal = place.subscription(topic, expiration_policy={})
    server.advance(DAY / 2)
    place.publish(topic, "a")
    place.pull(used)
    server.advance(DAY / 2 + 60)
    assert sorted(place.publisher.list_topic_subscriptions(topic=topic)) == sorted([used, eternal])
    with pytest.raises(NotFound):
        place.settings(unused)
