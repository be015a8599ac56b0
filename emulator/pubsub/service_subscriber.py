"""``google.pubsub.v1.Subscriber``: https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#subscriber.

Pull and StreamingPull wait, so that they stand in the rooms ``pulling`` and ``streaming``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from emulator.pubsub import names, snapshots, subscription_rules
from emulator.pubsub.ack_refusal import AckRefusal
from emulator.pubsub.broker import Broker
from emulator.pubsub.protos import Empty, FieldMask, Proto, Subscription, message, unix_seconds
from emulator.pubsub.service_publisher import Method
from emulator.pubsub.settings import apply_mask, check_labels, page
from emulator.pubsub.subscription_rules import MOST_DEADLINE
from emulator.pubsub.subscriptions import INVALID_ACK_ID, AckOutcome
from emulator.refusals import already_exists, failed_precondition, invalid, not_found

SERVICE: Final = "google.pubsub.v1.Subscriber"
PullRequest: Final[Proto] = message("PullRequest")
_FROZEN_SNAPSHOT: Final = frozenset({"name", "topic"})

_ListSubscriptions: Final = message("ListSubscriptionsResponse")
_ListSnapshots: Final = message("ListSnapshotsResponse")
_SeekResponse: Final = message("SeekResponse")


def methods(broker: Broker) -> Mapping[str, Method]:
    """Request class and handler by method name."""
    return {
        "CreateSubscription": (Subscription, partial(_create, broker)),
        "GetSubscription": (message("GetSubscriptionRequest"), lambda asked: _get(broker, asked.subscription)),
        "UpdateSubscription": (message("UpdateSubscriptionRequest"), partial(_update, broker)),
        "ListSubscriptions": (message("ListSubscriptionsRequest"), partial(_list, broker)),
        "DeleteSubscription": (message("DeleteSubscriptionRequest"), partial(_delete, broker)),
        "ModifyAckDeadline": (message("ModifyAckDeadlineRequest"), partial(_modify_ack_deadline, broker)),
        "Acknowledge": (message("AcknowledgeRequest"), partial(_acknowledge, broker)),
        "ModifyPushConfig": (message("ModifyPushConfigRequest"), partial(_modify_push, broker)),
        "GetSnapshot": (message("GetSnapshotRequest"), lambda asked: broker.snapshot(asked.snapshot).config),
        "ListSnapshots": (message("ListSnapshotsRequest"), partial(_list_snapshots, broker)),
        "CreateSnapshot": (message("CreateSnapshotRequest"), partial(_create_snapshot, broker)),
        "UpdateSnapshot": (message("UpdateSnapshotRequest"), partial(_update_snapshot, broker)),
        "DeleteSnapshot": (message("DeleteSnapshotRequest"), partial(_delete_snapshot, broker)),
        "Seek": (message("SeekRequest"), partial(_seek, broker)),
    }


def _create(broker: Broker, request: Proto) -> Proto:
    names.check_name(names.SUBSCRIPTIONS, request.name)
    if request.name in broker.subscriptions:
        raise already_exists("Subscription already exists")
    topic = broker.topics.get(request.topic)
    if topic is None:
        raise names.missing(names.TOPICS, request.topic, "Subscription topic does not exist")
    config = subscription_rules.completed(request)
    _check_dead_letter_topic(broker, config)
    if topic.retention:
        config.topic_message_retention_duration.CopyFrom(topic.config.message_retention_duration)
    return broker.add_subscription(config).config


def _get(broker: Broker, name: str) -> Proto:
    return broker.subscription(name).config


def _update(broker: Broker, request: Proto) -> Proto:
    subscription = broker.subscriptions.get(request.subscription.name)
    if subscription is None:
        raise names.missing(names.SUBSCRIPTIONS, request.subscription.name, "Subscription not found.")
    config = subscription_rules.updated(subscription.config, request.subscription, request.update_mask)
    if "dead_letter_policy" in request.update_mask.paths:
        _check_dead_letter_topic(broker, config)
    broker.change_subscription(subscription, config)
    return config


def _check_dead_letter_topic(broker: Broker, config: Proto) -> None:
    if config.HasField("dead_letter_policy") and config.dead_letter_policy.dead_letter_topic not in broker.topics:
        raise not_found("Dead letter topic not found")


def _list(broker: Broker, request: Proto) -> Proto:
    names.check_project(request.project)
    found = sorted(name for name in broker.subscriptions if names.project_of(name) == request.project)
    listed, token = page(found, request.page_size, request.page_token)
    configs = [broker.subscriptions[name].config for name in listed]
    return _ListSubscriptions(subscriptions=configs, next_page_token=token)


def _delete(broker: Broker, request: Proto) -> Proto:
    broker.delete_subscription(broker.subscription(request.subscription))
    return Empty()


def _acknowledge(broker: Broker, request: Proto) -> Proto:
    subscription = broker.subscription(request.subscription)
    subscription.check_open()
    if not request.ack_ids:
        raise invalid("No ack ids specified.")
    _confirm(subscription.acknowledge(request.ack_ids))
    return Empty()


def _modify_ack_deadline(broker: Broker, request: Proto) -> Proto:
    subscription = broker.subscription(request.subscription)
    subscription.check_open()
    if not request.ack_ids:
        raise invalid("No ack ids specified")
    check_deadline(request.ack_deadline_seconds)
    _confirm(subscription.modify(request.ack_ids, request.ack_deadline_seconds))
    return Empty()


def check_deadline(seconds: int) -> None:
    """Raise Refusal unless a lease may be set to this."""
    if seconds < 0:
        raise invalid("Ack deadline cannot be negative")
    if seconds > MOST_DEADLINE:
        raise invalid("ack_deadline_secs out of bounds")


def _confirm(outcome: AckOutcome) -> None:
    if outcome.invalid:
        raise AckRefusal(dict.fromkeys(outcome.invalid, INVALID_ACK_ID))


def _modify_push(broker: Broker, request: Proto) -> Proto:
    subscription = broker.subscription(request.subscription)
    given = Subscription(name=subscription.name, push_config=request.push_config)
    mask = FieldMask(paths=["push_config"])
    broker.change_subscription(subscription, subscription_rules.updated(subscription.config, given, mask))
    return Empty()


def _create_snapshot(broker: Broker, request: Proto) -> Proto:
    subscription = broker.subscription(request.subscription)
    name = request.name or names.random_name(names.project_of(subscription.name), names.SNAPSHOTS)
    names.check_name(names.SNAPSHOTS, name)
    check_labels(request.labels)
    if name in broker.snapshots:
        raise already_exists("Snapshot already exists")
    if not subscription.live:
        raise failed_precondition("The subscription has no topic")
    snapshot = snapshots.capture(name, dict(request.labels), subscription, broker.clock.now())
    broker.add_snapshot(snapshot)
    return snapshot.config


def _update_snapshot(broker: Broker, request: Proto) -> Proto:
    snapshot = broker.snapshot(request.snapshot.name)
    config = apply_mask(snapshot.config, request.snapshot, request.update_mask, _FROZEN_SNAPSHOT, "expire_time")
    check_labels(config.labels)
    expires = unix_seconds(config.expire_time)
    if "expire_time" in request.update_mask.paths and expires > snapshot.expires:
        raise invalid("The expire_time of a snapshot can only be brought forward")
    snapshot.config = config
    snapshot.expires = min(snapshot.expires, expires)
    return config


def _list_snapshots(broker: Broker, request: Proto) -> Proto:
    names.check_project(request.project)
    found = sorted(name for name in broker.snapshots if names.project_of(name) == request.project)
    listed, token = page(found, request.page_size, request.page_token)
    return _ListSnapshots(snapshots=[broker.snapshots[name].config for name in listed], next_page_token=token)


def _delete_snapshot(broker: Broker, request: Proto) -> Proto:
    broker.snapshot(request.snapshot)
    broker.delete_snapshot(request.snapshot)
    return Empty()


def _seek(broker: Broker, request: Proto) -> Proto:
    subscription = broker.subscription(request.subscription)
    target = request.WhichOneof("target")
    if target is None:
        raise invalid("No target was specified in the SeekRequest. Must specify either a time or a snapshot")
    subscription.check_open()
    if target == "time":
        topic = broker.topics.get(subscription.config.topic)
        snapshots.seek_to_time(subscription, topic, unix_seconds(request.time))
        return _SeekResponse()
    snapshot = broker.snapshot(request.snapshot)
    if snapshot.config.topic != subscription.config.topic:
        raise failed_precondition("The snapshot's topic is not the topic of the subscription")
    snapshots.seek_to_snapshot(subscription, snapshot)
    return _SeekResponse()
