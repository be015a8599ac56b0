"""What Pub/Sub adds to a message that it forwards to a dead-letter topic.

Source: https://cloud.google.com/pubsub/docs/handling-failures#track-delivery-attempts and what
the official emulator publishes.
"""

from __future__ import annotations

from typing import Final

from emulator.delivery.messages import Message

_PREFIX: Final = "CloudPubSubDeadLetterSource"


def dead_letter_attributes(message: Message, subscription: str, attempts: int) -> dict[str, str]:
    """The message's attributes plus where it died.

    ``subscription`` is the full name, ``projects/P/subscriptions/S``.
    """
    _, project, _, name = subscription.split("/")
    return {
        **message.attributes,
        f"{_PREFIX}DeliveryCount": str(attempts),
        f"{_PREFIX}Subscription": name,
        f"{_PREFIX}SubscriptionProject": project,
        f"{_PREFIX}TopicPublishTime": message.publish_time,
    }
