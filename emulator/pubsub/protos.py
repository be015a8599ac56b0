"""Google's message classes for Pub/Sub, as plain protobuf: proto-plus costs more than the work of a call."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import duration_pb2, empty_pb2, field_mask_pb2, timestamp_pb2
from google.pubsub_v1.types import pubsub, schema

Proto = Any
"""A protobuf message or its class: the classes are made at run time, so that no type describes them."""

Empty: Final[Proto] = empty_pb2.Empty
Duration: Final[Proto] = duration_pb2.Duration
FieldMask: Final[Proto] = field_mask_pb2.FieldMask
Timestamp: Final[Proto] = timestamp_pb2.Timestamp

Topic: Final[Proto] = pubsub.Topic.pb()
Subscription: Final[Proto] = pubsub.Subscription.pb()
Snapshot: Final[Proto] = pubsub.Snapshot.pb()
Schema: Final[Proto] = schema.Schema.pb()
PubsubMessage: Final[Proto] = pubsub.PubsubMessage.pb()
ReceivedMessage: Final[Proto] = pubsub.ReceivedMessage.pb()
PublishResponse: Final[Proto] = pubsub.PublishResponse.pb()
PullResponse: Final[Proto] = pubsub.PullResponse.pb()
StreamingPullRequest: Final[Proto] = pubsub.StreamingPullRequest.pb()
StreamingPullResponse: Final[Proto] = pubsub.StreamingPullResponse.pb()

ACTIVE: Final = 1
"""The state of a topic or a subscription that works."""


def message(name: str) -> Proto:
    """A class of ``google.pubsub.v1`` by its name."""
    owner = pubsub if hasattr(pubsub, name) else schema
    return getattr(owner, name).pb()


def seconds(duration: Proto) -> float:
    """A duration as seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def timestamp(time: float) -> Proto:
    """Unix seconds as a timestamp of microseconds."""
    micros = round(time * 1e6)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def unix_seconds(stamp: Proto) -> float:
    """A timestamp as Unix seconds."""
    return float(stamp.seconds + stamp.nanos / 1e9)
