"""The Pub/Sub topic between the relay's instances: each message that was appended, as it travels there.

`topic`, `number` and `previous` are attributes, so that subscriptions can filter on the topic; the payload is the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent_mesh.platform import pubsub
from agent_mesh.platform.logs import current_trace
from agent_mesh.relay.messages import Message

INSTANCE: Final = "instance"
"""Attribute: who published it, so that an instance need not be sent its own."""


def as_published(message: Message, instance: str, caller: str) -> pubsub.Message:
    """Return a message as it is published by `instance`; `caller` is who asked for it, empty for the mesh itself."""
    attributes = {
        "topic": message.topic,
        "number": str(message.number),
        "previous": str(message.previous),
        INSTANCE: instance,
    }
    trace = current_trace.get()
    if trace:
        attributes["traceparent"] = trace.traceparent
    if caller:
        attributes["caller"] = caller
    return pubsub.Message(message.payload.encode(), attributes)


def as_received(data: bytes, attributes: Mapping[str, str]) -> Message | None:
    """Return the message that was published, None for one that is not ours: it is in no history either."""
    try:
        number, previous = int(attributes["number"]), int(attributes["previous"])
        return Message(attributes["topic"], number, previous, data.decode())
    except (KeyError, ValueError):
        return None
