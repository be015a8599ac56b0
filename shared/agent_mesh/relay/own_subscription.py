"""An instance's own subscription on the topic between instances: made when it is first needed, gone with it.

One that a killed instance left behind expires after a day without a pull, the shortest time that Pub/Sub takes. It
keeps messages for ten minutes, the shortest as well: what is older is read from the history.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from google.api_core import exceptions as google_errors
from google.auth.exceptions import GoogleAuthError

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.ids import random_id
from agent_mesh.relay.live_topic import INSTANCE, as_received
from agent_mesh.relay.messages import Message

if TYPE_CHECKING:  # imported where it connects: a relay without streams never does
    from google.pubsub_v1 import SubscriberClient

ACK_DEADLINE_SECONDS: Final = 10
_EXPIRES: Final = timedelta(days=1)
_RETAINED: Final = timedelta(minutes=10)
_CALL_SECONDS: Final = 5.0
_MOST_MESSAGES: Final = 1000


class Gone(Exception):
    """The subscription is not there any more: make another, and read what was missed from the history."""


@dataclass(frozen=True)
class Pulled:
    """What came, in the order of each topic, and what acknowledges it."""

    messages: Sequence[Message]
    ack_ids: Sequence[str]


class OwnSubscriptions:
    """The subscriptions of one instance, one after the other: each has a name that was never used."""

    def __init__(self, prefix: str, topic: str, instance: str) -> None:
        """Name them `prefix` (full path) and random letters, on `topic` (full path). Nothing is connected yet."""
        self._prefix = prefix
        self._topic = topic
        self._instance = instance
        self._lock = threading.Lock()
        self._client: SubscriberClient | None = None

    def new(self) -> OwnSubscription:
        """Return one that is not made yet."""
        wanted = {
            "name": self._prefix + random_id("live").replace("_", "-"),
            "topic": self._topic,
            "ack_deadline_seconds": ACK_DEADLINE_SECONDS,
            "message_retention_duration": _RETAINED,
            "expiration_policy": {"ttl": _EXPIRES},
            "filter": f'attributes.{INSTANCE} != "{self._instance}"',
            "labels": {"made-by": "relay"},
        }
        return OwnSubscription(wanted, self._connected)

    def _connected(self) -> SubscriberClient:
        with self._lock:
            if self._client is None:
                self._client = _connect()
        return self._client


class OwnSubscription:
    """Calls about one subscription, each of which raises `Unavailable` when Pub/Sub does not answer or refuses."""

    def __init__(self, wanted: dict[str, Any], connected: Callable[[], Any]) -> None:
        """Speak of the subscription that is `wanted`, as Google's message has it."""
        self.path: Final[str] = wanted["name"]
        self._wanted = wanted
        self._connected = connected

    def create(self) -> None:
        """Make it. From now on nothing that others publish is missed."""
        with _pubsub_errors(), suppress(google_errors.AlreadyExists):
            self._connected().create_subscription(self._wanted, retry=None, timeout=_CALL_SECONDS)

    def pull(self, wait_seconds: float) -> Pulled:
        """Return what others published, at the latest after so many seconds; raise `Gone`."""
        request = {"subscription": self.path, "max_messages": _MOST_MESSAGES}
        with _pubsub_errors():
            try:
                answer = self._connected().pull(request, retry=None, timeout=wait_seconds)
            except google_errors.DeadlineExceeded:
                return Pulled((), ())
            except google_errors.NotFound as error:
                raise Gone(self.path) from error
        found = [as_received(each.message.data, each.message.attributes) for each in answer.received_messages]
        ordered = sorted((one for one in found if one), key=lambda one: (one.topic, one.number))
        return Pulled(ordered, [each.ack_id for each in answer.received_messages])

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Say that these need not come again."""
        request = {"subscription": self.path, "ack_ids": list(ack_ids)}
        with _pubsub_errors(), suppress(google_errors.NotFound):
            self._connected().acknowledge(request, retry=None, timeout=_CALL_SECONDS)

    def delete(self) -> None:
        """Remove it; once more changes nothing."""
        with _pubsub_errors(), suppress(google_errors.NotFound):
            self._connected().delete_subscription({"subscription": self.path}, retry=None, timeout=_CALL_SECONDS)


def _connect() -> SubscriberClient:
    from google.pubsub_v1 import SubscriberClient
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    if not emulator:
        return SubscriberClient()
    import grpc

    return SubscriberClient(transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(emulator)))


@contextmanager
def _pubsub_errors() -> Iterator[None]:
    try:
        yield
    except (google_errors.GoogleAPICallError, google_errors.RetryError, GoogleAuthError) as error:
        reason = getattr(error, "grpc_status_code", None) or type(error).__name__
        raise Unavailable(f"Pub/Sub cannot be reached or refuses: {reason}.", retry_after_s=1) from error
