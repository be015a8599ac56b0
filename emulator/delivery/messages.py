"""A message as a subscription hands it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Message:
    """A published message. ``publish_time`` is RFC 3339 in UTC, like ``2026-11-20T08:00:00.1Z``."""

    message_id: str
    data: bytes
    publish_time: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    ordering_key: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """A message that is ours until its ack deadline, with the id that acks or extends it."""

    ack_id: str
    message: Message
