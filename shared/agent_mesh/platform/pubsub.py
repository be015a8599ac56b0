"""Publishing. The generated client is used: the hand-written one waits for a batch, which costs 12 ms a message."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import grpc
from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage

from agent_mesh.contracts.problems import Unavailable

PUBLISH_LIMIT_MESSAGES: Final = 1000
PUBLISH_LIMIT_BYTES: Final = 9_000_000
"""Pub/Sub takes 10 MB a publish call; attributes and framing need the rest."""

PUBLISH_TIMEOUT_S: Final = 10.0
"""The client's own default is ten minutes: longer than anybody waits for an answer."""

_RETRY: Final = Retry(initial=0.1, maximum=2.0, timeout=PUBLISH_TIMEOUT_S)


@dataclass(frozen=True)
class Message:
    """What is published: bytes and string attributes."""

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that count against the limit of a publish call."""
        attributes = sum(len(name.encode()) + len(value.encode()) for name, value in self.attributes.items())
        return len(self.data) + attributes + 64


class Publisher(Protocol):
    """Publishes messages on a topic."""

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Publish in order; return the message ids. Raise `Unavailable` if Pub/Sub did not take them."""
        ...


class PubsubPublisher:
    """Publishes through the official client, created at its first use."""

    def __init__(self) -> None:
        """Nothing is connected yet."""
        self._lock = threading.Lock()
        self._client: PublisherClient | None = None

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Publish in as few calls as the limits allow; return the message ids."""
        ids: list[str] = []
        try:
            for chunk in _chunks(messages):
                packed = [PubsubMessage(data=message.data, attributes=dict(message.attributes)) for message in chunk]
                request = PublishRequest(topic=topic, messages=packed)
                ids += self._connected().publish(request, retry=_RETRY, timeout=PUBLISH_TIMEOUT_S).message_ids
        except (google_errors.GoogleAPICallError, google_errors.RetryError, GoogleAuthError) as error:
            detail = "The message could not be published; the sweep will try again."
            raise Unavailable(detail, retry_after_s=1) from error
        return ids

    def _connected(self) -> PublisherClient:
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = _connect()
        return self._client


def _connect() -> PublisherClient:
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    if not emulator:
        return PublisherClient()
    return PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(emulator)))


def _chunks(messages: Sequence[Message]) -> list[list[Message]]:
    chunks: list[list[Message]] = []
    size = 0
    for message in messages:
        if not chunks or len(chunks[-1]) == PUBLISH_LIMIT_MESSAGES or size + message.size > PUBLISH_LIMIT_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(message)
        size += message.size
    return chunks
