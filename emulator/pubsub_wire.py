"""The Pub/Sub calls of the bridge and of provisioning, over gRPC with Google's message types and no client library.

The generated clients cost a second of start-up and a third of a millisecond per call that neither
needs. Source: https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub

from emulator.delivery.messages import Lease, Message
from emulator.pubsub.protos import Proto

_SECONDS: Final = 10.0
_LARGEST_MESSAGE: Final = 64 * 1024 * 1024

CloudError = grpc.RpcError
"""What every call raises when the service refuses or cannot be reached."""


class PubSubWire:
    """One connection to Pub/Sub at ``host:port``, without credentials; safe from many threads."""

    def __init__(self, address: str) -> None:
        """Connect lazily, with the first call."""
        sizes = [("grpc.max_receive_message_length", _LARGEST_MESSAGE)]
        self._channel = grpc.insecure_channel(address, options=sizes)
        self._list_topics = self._call("Publisher/ListTopics", pubsub.ListTopicsRequest, pubsub.ListTopicsResponse.pb())
        self._create_topic = self._call("Publisher/CreateTopic", pubsub.Topic, pubsub.Topic.pb())
        self._delete_topic = self._call("Publisher/DeleteTopic", pubsub.DeleteTopicRequest, empty_pb2.Empty)
        self._publish = self._call("Publisher/Publish", pubsub.PublishRequest, pubsub.PublishResponse.pb())
        listed, subscription = pubsub.ListSubscriptionsResponse.pb(), pubsub.Subscription.pb()
        self._list = self._call("Subscriber/ListSubscriptions", pubsub.ListSubscriptionsRequest, listed)
        self._create = self._call("Subscriber/CreateSubscription", pubsub.Subscription, subscription)
        self._update = self._call("Subscriber/UpdateSubscription", pubsub.UpdateSubscriptionRequest, subscription)
        self._delete = self._call("Subscriber/DeleteSubscription", pubsub.DeleteSubscriptionRequest, empty_pb2.Empty)
        self._pull = self._call("Subscriber/Pull", pubsub.PullRequest, pubsub.PullResponse.pb())
        self._acknowledge = self._call("Subscriber/Acknowledge", pubsub.AcknowledgeRequest, empty_pb2.Empty)
        self._modify = self._call("Subscriber/ModifyAckDeadline", pubsub.ModifyAckDeadlineRequest, empty_pb2.Empty)

    def wait_until_ready(self, project: str, seconds: float) -> None:
        """Return when it answers; raises CloudError (DEADLINE_EXCEEDED) after that many seconds."""
        asked = pubsub.ListTopicsRequest.pb()(project=f"projects/{project}", page_size=1)
        self._list_topics(asked, timeout=seconds, wait_for_ready=True)

    def topics(self, project: str) -> list[Proto]:
        """All topics of a project."""
        return _all_pages(self._list_topics, pubsub.ListTopicsRequest.pb()(project=f"projects/{project}"), "topics")

    def create_topic(self, topic: Proto) -> None:
        """Create it. Raises CloudError if it exists."""
        self._create_topic(topic, timeout=_SECONDS)

    def delete_topic(self, topic: str) -> None:
        """Delete it; its subscriptions stay without a topic."""
        self._delete_topic(pubsub.DeleteTopicRequest.pb()(topic=topic), timeout=_SECONDS)

    def subscriptions(self, project: str) -> list[Proto]:
        """All subscriptions of a project."""
        asked = pubsub.ListSubscriptionsRequest.pb()(project=f"projects/{project}")
        return _all_pages(self._list, asked, "subscriptions")

    def create_subscription(self, subscription: Proto) -> None:
        """Create it. Raises CloudError if it exists."""
        self._create(subscription, timeout=_SECONDS)

    def update_subscription(self, subscription: Proto, paths: Sequence[str]) -> None:
        """Set these of its fields."""
        asked = pubsub.UpdateSubscriptionRequest.pb()(subscription=subscription, update_mask={"paths": paths})
        self._update(asked, timeout=_SECONDS)

    def delete_subscription(self, subscription: str) -> None:
        """Delete it with its messages."""
        self._delete(pubsub.DeleteSubscriptionRequest.pb()(subscription=subscription), timeout=_SECONDS)

    def publish(self, topic: str, messages: Iterable[Message]) -> None:
        """Publish these messages; their ids and times are given anew."""
        kind = pubsub.PubsubMessage.pb()
        wired = [
            kind(data=one.data, attributes=dict(one.attributes), ordering_key=one.ordering_key) for one in messages
        ]
        self._publish(pubsub.PublishRequest.pb()(topic=topic, messages=wired), timeout=_SECONDS)

    def pull(self, subscription: str, most: int) -> list[Lease]:
        """Lease up to ``most`` messages that are there now."""
        asked = pubsub.PullRequest.pb()(subscription=subscription, max_messages=most, return_immediately=True)
        answer = self._pull(asked, timeout=_SECONDS)
        return [_lease(received) for received in answer.received_messages]

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """These messages are done."""
        self._acknowledge(pubsub.AcknowledgeRequest.pb()(subscription=subscription, ack_ids=ack_ids), timeout=_SECONDS)

    def modify_ack_deadline(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:
        """Keep these leases for so many seconds from now; 0 gives them back."""
        asked = pubsub.ModifyAckDeadlineRequest.pb()(
            subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=seconds
        )
        self._modify(asked, timeout=_SECONDS)

    def close(self) -> None:
        """Cancel what runs and disconnect."""
        self._channel.close()

    def _call(self, method: str, request: Proto, answer: Proto) -> Callable[..., Proto]:
        return self._channel.unary_unary(
            f"/google.pubsub.v1.{method}",
            request_serializer=request.pb().SerializeToString,
            response_deserializer=answer.FromString,
        )


def _all_pages(call: Callable[..., Proto], asked: Proto, kind: str) -> list[Proto]:
    found: list[Proto] = []
    while True:
        page = call(asked, timeout=_SECONDS)
        found += getattr(page, kind)
        if not page.next_page_token:
            return found
        asked.page_token = page.next_page_token


def _lease(received: Proto) -> Lease:
    wired = received.message
    message = Message(
        message_id=wired.message_id,
        data=wired.data,
        publish_time=wired.publish_time.ToJsonString(),
        attributes=dict(wired.attributes),
        ordering_key=wired.ordering_key,
    )
    return Lease(received.ack_id, message)
