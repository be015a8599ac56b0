"""The body of a wrapped push request.

Source: https://cloud.google.com/pubsub/docs/push#receive_push. Pub/Sub writes the id and the
time twice, in camel case and in snake case, and ``deliveryAttempt`` only for a subscription
with a dead-letter policy.
"""

from __future__ import annotations

import base64
import json

from emulator.delivery.messages import Message


def push_envelope(message: Message, subscription: str, delivery_attempt: int | None) -> bytes:
    """The JSON body for one delivery; ``subscription`` is the full name."""
    wrapped: dict[str, object] = {}
    if message.attributes:
        wrapped["attributes"] = dict(message.attributes)
    if message.data:
        wrapped["data"] = base64.b64encode(message.data).decode()
    wrapped |= {
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": message.publish_time,
        "publish_time": message.publish_time,
    }
    if message.ordering_key:
        wrapped["orderingKey"] = message.ordering_key
    envelope: dict[str, object] = {"message": wrapped, "subscription": subscription}
    if delivery_attempt is not None:
        envelope["deliveryAttempt"] = delivery_attempt
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
