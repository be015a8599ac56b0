"""``google.pubsub.v1.Publisher``: https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#publisher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from emulator.pubsub import names, topics
from emulator.pubsub.broker import Broker
from emulator.pubsub.messages import check_publish, check_size
from emulator.pubsub.protos import Empty, Proto, PublishResponse, Topic, message
from emulator.pubsub.settings import page
from emulator.refusals import already_exists

SERVICE: Final = "google.pubsub.v1.Publisher"
Method = tuple[Proto, Callable[[Proto], Proto]]

_ListTopics: Final = message("ListTopicsResponse")
_ListTopicSubscriptions: Final = message("ListTopicSubscriptionsResponse")
_ListTopicSnapshots: Final = message("ListTopicSnapshotsResponse")
_Detached: Final = message("DetachSubscriptionResponse")


def methods(broker: Broker) -> Mapping[str, Method]:
    """Request class and handler by method name."""
    return {
        "CreateTopic": (Topic, partial(_create, broker)),
        "UpdateTopic": (message("UpdateTopicRequest"), partial(_update, broker)),
        "Publish": (message("PublishRequest"), partial(publish, broker)),
        "GetTopic": (message("GetTopicRequest"), lambda request: broker.topic(request.topic).config),
        "ListTopics": (message("ListTopicsRequest"), partial(_list, broker)),
        "ListTopicSubscriptions": (message("ListTopicSubscriptionsRequest"), partial(_subscriptions, broker)),
        "ListTopicSnapshots": (message("ListTopicSnapshotsRequest"), partial(_snapshots, broker)),
        "DeleteTopic": (message("DeleteTopicRequest"), partial(_delete, broker)),
        "DetachSubscription": (message("DetachSubscriptionRequest"), partial(_detach, broker)),
    }


def publish(broker: Broker, request: Proto) -> Proto:
    """Publish up to 1,000 messages."""
    topic = broker.topic(request.topic)
    messages = request.messages
    check_publish(messages)
    check_size(request.ByteSize())
    settings = topic.config.schema_settings
    if settings.schema:
        broker.schemas.check_publish(settings, messages)
    return PublishResponse(message_ids=broker.publish(topic, messages))


def _create(broker: Broker, request: Proto) -> Proto:
    names.check_name(names.TOPICS, request.name)
    if request.name in broker.topics:
        raise already_exists("Topic already exists")
    config = topics.completed(request)
    if config.HasField("schema_settings"):
        broker.schemas.check_settings(config.schema_settings)
    return broker.add_topic(config).config


def _update(broker: Broker, request: Proto) -> Proto:
    topic = broker.topics.get(request.topic.name)
    if topic is None:
        raise names.missing(names.TOPICS, request.topic.name, "Topic not found.")
    config = topics.updated(topic.config, request.topic, request.update_mask)
    if "schema_settings" in request.update_mask.paths and config.HasField("schema_settings"):
        broker.schemas.check_settings(config.schema_settings)
    broker.change_topic(topic, config)
    return config


def _list(broker: Broker, request: Proto) -> Proto:
    names.check_project(request.project)
    found = sorted(name for name in broker.topics if names.project_of(name) == request.project)
    listed, token = page(found, request.page_size, request.page_token)
    return _ListTopics(topics=[broker.topics[name].config for name in listed], next_page_token=token)


def _subscriptions(broker: Broker, request: Proto) -> Proto:
    found = sorted(broker.topic(request.topic).subscriptions)
    listed, token = page(found, request.page_size, request.page_token)
    return _ListTopicSubscriptions(subscriptions=listed, next_page_token=token)


def _snapshots(broker: Broker, request: Proto) -> Proto:
    found = sorted(broker.topic(request.topic).snapshots)
    listed, token = page(found, request.page_size, request.page_token)
    return _ListTopicSnapshots(snapshots=listed, next_page_token=token)


def _delete(broker: Broker, request: Proto) -> Proto:
    broker.delete_topic(broker.topic(request.topic))
    return Empty()


def _detach(broker: Broker, request: Proto) -> Proto:
    broker.detach(broker.subscription(request.subscription))
    return _Detached()
