"""Messages as they were published, and the limits of publishing: https://cloud.google.com/pubsub/quotas#resource_limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from emulator.delivery.messages import Message
from emulator.pubsub.protos import Proto
from emulator.refusals import invalid

MOST_MESSAGES: Final = 1000
MOST_BYTES: Final = 10_000_000
_MOST_ATTRIBUTES: Final = 100
_LONGEST_KEY: Final = 256
_LONGEST_VALUE: Final = 1024
_LONGEST_ORDERING_KEY: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """A message with its id and time. ``number`` rises with every message of the server and is its id."""

    number: int
    wire: Proto = field(repr=False)
    time: float
    size: int

    @property
    def attributes(self) -> Mapping[str, str]:
        """Its attributes."""
        return dict(self.wire.attributes)

    @property
    def ordering_key(self) -> str:
        """Its ordering key, often empty."""
        return str(self.wire.ordering_key)

    def plain(self) -> Message:
        """What the delivery core wants."""
        wire = self.wire
        return Message(wire.message_id, wire.data, wire.publish_time.ToJsonString(), self.attributes, wire.ordering_key)


def check_publish(messages: Sequence[Proto]) -> None:
    """Raise Refusal unless these may be published in one request."""
    if not messages:
        raise invalid("No messages to publish")
    if len(messages) > MOST_MESSAGES:
        raise invalid("Too many messages to publish")
    for message in messages:
        if message.attributes:
            _check_attributes(message.attributes)
        elif not message.data:
            raise invalid("Some messages are empty")
        if len(message.ordering_key) > _LONGEST_ORDERING_KEY:
            raise invalid(f"The ordering key is too long: at most {_LONGEST_ORDERING_KEY} bytes are allowed")


def check_size(size: int) -> None:
    """Raise Refusal unless a request may have so many bytes."""
    if size > MOST_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {MOST_BYTES} bytes.")


def _check_attributes(attributes: Mapping[str, str]) -> None:
    if len(attributes) > _MOST_ATTRIBUTES:
        raise invalid(f"A message has {len(attributes)} attributes: at most {_MOST_ATTRIBUTES} are allowed")
    for key, value in attributes.items():
        if not key:
            raise invalid("An attribute key is empty")
        if key.startswith("goog") and not key.startswith("googclient_"):
            raise invalid(f"The attribute key {key} starts with the reserved prefix goog")
        if len(key.encode()) > _LONGEST_KEY:
            raise invalid(f"An attribute key is too long: at most {_LONGEST_KEY} bytes are allowed")
        if len(value.encode()) > _LONGEST_VALUE:
            raise invalid(f"The value of attribute {key} is too long: at most {_LONGEST_VALUE} bytes are allowed")
