"""Messages as they were published, and the limits of publishing: https://cloud.google.com/pubsub/quotas#resource_limits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from emulator.delivery.messages import Message
from emulator.pubsub.protos import Proto
from emulator.refusals import invalid
from emulator.usage.attribution import UNTRACED, trace_of_message

MOST_MESSAGES: Final = 1000
MOST_BYTES: Final = 10_000_000
_MOST_ATTRIBUTES: Final = 100
_LONGEST_KEY: Final = 256
_LONGEST_VALUE: Final = 1024
_LONGEST_ORDERING_KEY: Final = 1024
_TIMESTAMP_BYTES: Final = 20
_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """A message with its id and time. ``number`` rises with every message of the server and is its id.

    ``size`` is in bytes as the price list counts them; ``trace`` is that of its attributes, or else of the call that
    published it.
    """

    number: int
    wire: Proto = field(repr=False)
    time: float
    size: int
    trace: str

    @classmethod
    def of(cls, number: int, wire: Proto, time: float, call: str = UNTRACED) -> Self:
        """A message that has its id and time already, published by a call of this trace."""
        trace = trace_of_message(wire.attributes) if wire.attributes else UNTRACED
        return cls(number, wire, time, message_size(wire), trace or call)

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


def message_size(wire: Proto) -> int:
    """Bytes of one message as the price list counts them: data, attributes, publish time, id, and its ordering key."""
    texts = (
        [wire.ordering_key, *itertools.chain.from_iterable(wire.attributes.items())]
        if wire.attributes
        else [wire.ordering_key]
    )
    return len(wire.data) + _TIMESTAMP_BYTES + _ID_BYTES + sum(len(text.encode()) for text in texts)


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
