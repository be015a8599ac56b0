"""The six Pub/Sub calls of the bridge, over gRPC with Google's message types and no client library.

The generated clients cost a second of start-up and a third of a millisecond per call that the
bridge does not need. Source: https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub

from emulator.delivery.messages import Lease, Message

LEASE_SECONDS: Final = 20
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
        self._create_topic = self._call("Publisher/CreateTopic", pubsub.Topic, pubsub.Topic.pb())
        self._publish = self._call("Publisher/Publish", pubsub.PublishRequest, pubsub.PublishResponse.pb())
        self._create = self._call("Subscriber/CreateSubscription", pubsub.Subscription, pubsub.Subscription.pb())
        self._pull = self._call("Subscriber/Pull", pubsub.PullRequest, pubsub.PullResponse.pb())
        self._acknowledge = self._call("Subscriber/Acknowledge", pubsub.AcknowledgeRequest, empty_pb2.Empty)
        self._modify = self._call("Subscriber/ModifyAckDeadline", pubsub.ModifyAckDeadlineRequest, empty_pb2.Empty)

    def wait_until_ready(self, seconds: float) -> None:
        """Return when connected; raises ``grpc.FutureTimeoutError`` after that many seconds."""
        grpc.channel_ready_future(self._channel).result(timeout=seconds)

    def create_topic(self, topic: str) -> None:
        """Create it unless it exists."""
        _unless_exists(self._create_topic, pubsub.Topic.pb()(name=topic))

    def create_subscription(self, subscription: str, topic: str, *, ordering: bool) -> None:
        """Create a pull subscription unless it exists; a lease on it lasts LEASE_SECONDS."""
        wanted = pubsub.Subscription.pb()(
            name=subscription,
            topic=topic,
            ack_deadline_seconds=LEASE_SECONDS,
            enable_message_ordering=ordering,
        )
        _unless_exists(self._create, wanted)

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

    def _call(self, method: str, request: Any, answer: Any) -> Any:  # noqa: ANN401  protobuf classes are made at run time
        return self._channel.unary_unary(
            f"/google.pubsub.v1.{method}",
            request_serializer=request.pb().SerializeToString,
            response_deserializer=answer.FromString,
        )


def _unless_exists(call: Any, wanted: Any) -> None:  # noqa: ANN401  protobuf classes are made at run time
    try:
        call(wanted, timeout=_SECONDS)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


def _lease(received: Any) -> Lease:  # noqa: ANN401  protobuf classes are made at run time
    wired = received.message
    message = Message(
        message_id=wired.message_id,
        data=wired.data,
        publish_time=wired.publish_time.ToJsonString(),
        attributes=dict(wired.attributes),
        ordering_key=wired.ordering_key,
    )
    return Lease(received.ack_id, message)
