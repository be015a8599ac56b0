"""A message of the relay, and the numbers that order the messages of one topic.

A message's number is the microsecond in which it was appended, or one more than its predecessor's if that is later.
So numbers of a topic always grow, also after everything that came before has been deleted, and no number is ever used
twice. Each message names its predecessor: whoever gets them live sees at once whether one is missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pydantic import JsonValue, TypeAdapter

from agent_mesh.contracts.values import JsonObject, to_json

NO_MESSAGE: Final = 0
"""The predecessor of a topic's first message."""

_ID_DIGITS: Final = 16
_MICROSECONDS: Final = 1_000_000
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_PAYLOAD: Final = TypeAdapter(dict[str, JsonValue])


def id_of(number: int) -> str:
    """Return a message's id: ids of one topic sort as text as their messages do."""
    return f"{number:0{_ID_DIGITS}d}"


def number_at(unix_seconds: float) -> int:
    """Return the number of a message that is appended at this moment."""
    return int(unix_seconds * _MICROSECONDS)


def next_number(previous: int, unix_seconds: float) -> int:
    """Return the number of the successor of `previous`."""
    return max(previous + 1, number_at(unix_seconds))


def chunk_of(content: bytes) -> bytes:
    """Return bytes as one chunk of HTTP/1.1 (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(content), content)


@dataclass(frozen=True)
class Draft:
    """What somebody wants to publish. The same `key` on the same topic is published once."""

    payload: str
    key: str | None = None

    @classmethod
    def of(cls, payload: JsonObject, key: str | None = None) -> Draft:
        """Return a draft of a payload that the contract has checked."""
        return cls(to_json(payload), key)


@dataclass(frozen=True)
class Message:
    """One message of a topic. `payload` is JSON text, `previous` the number of the one before it."""

    topic: str
    number: int
    previous: int
    payload: str

    @cached_property
    def message_id(self) -> str:
        """What `Last-Event-ID` brings back for a stream of this one topic."""
        return id_of(self.number)

    @cached_property
    def data(self) -> str:
        """The contract's `{"id", "ts", "topic", "payload"}` as JSON, made once however many subscribers get it."""
        head = to_json({"id": self.message_id, "ts": self.number / _MICROSECONDS, "topic": self.topic})
        return f'{head[:-1]},"payload":{self.payload}}}'

    @cached_property
    def block(self) -> bytes:
        """`data` as lines of `text/event-stream` with the blank line that ends an event, made once as well."""
        return "".join(f"data: {line}\n" for line in _LINE_END.split(self.data)).encode() + b"\n"

    @cached_property
    def event(self) -> bytes:
        """`block` behind the line with the message's id, as every stream over this one topic has it."""
        return b"id: " + self.message_id.encode() + b"\n" + self.block

    @cached_property
    def chunk(self) -> bytes:
        """`event` as one chunk of HTTP/1.1 (RFC 9112 section 7.1)."""
        return chunk_of(self.event)

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of `data`."""
        return len(self.data.encode())

    def read_payload(self) -> dict[str, JsonValue]:
        """Return the payload as a value."""
        return _PAYLOAD.validate_json(self.payload)
