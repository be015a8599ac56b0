"""The Pub/Sub calls of the console, over gRPC with Google's message types and no client library."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any, Final

import grpc

from emulator.console.answers import OWN_REQUEST_ID
from emulator.pubsub.protos import Empty, Proto, StreamingPullRequest, StreamingPullResponse, Subscription, message

OWN_PREFIX: Final = "local-console-"
"""How the names of our temporary subscriptions begin."""

_SECONDS: Final = 10.0
_METADATA: Final = (("x-request-id", OWN_REQUEST_ID),)
_EXPIRATION_SECONDS: Final = 24 * 3600
_RETENTION_SECONDS: Final = 600
_DEADLINE_SECONDS: Final = 60


class PubSubCalls:
    """Pub/Sub at an address. Every method may raise ``grpc.RpcError``."""

    def __init__(self, address: str, project: str) -> None:
        """Connect lazily, with the first call."""
        self._project = f"projects/{project}"
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])

    def close(self) -> None:
        """Cancel what runs and disconnect."""
        self._channel.close()

    def topics(self) -> list[Proto]:
        """All topics."""
        return self._all("Publisher/ListTopics", "ListTopics", "topics")

    def subscriptions(self) -> list[Proto]:
        """All subscriptions, the console's own included."""
        return self._all("Subscriber/ListSubscriptions", "ListSubscriptions", "subscriptions")

    def subscribe(self, topic: str, short_name: str) -> str:
        """Create a subscription that expires by itself a day after the console is gone; returns its full name."""
        wanted = Subscription(
            name=f"{self._project}/subscriptions/{OWN_PREFIX}{short_name}",
            topic=topic if topic.startswith("projects/") else f"{self._project}/topics/{topic}",
            ack_deadline_seconds=_DEADLINE_SECONDS,
        )
        wanted.message_retention_duration.seconds = _RETENTION_SECONDS
        wanted.expiration_policy.ttl.seconds = _EXPIRATION_SECONDS
        self._ask("Subscriber/CreateSubscription", wanted, Subscription)
        return str(wanted.name)

    def unsubscribe(self, subscription: str) -> None:
        """Delete a subscription, unless it is gone already."""
        asked = message("DeleteSubscriptionRequest")
        try:
            self._ask("Subscriber/DeleteSubscription", asked(subscription=subscription), Empty)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise

    def stream(self, subscription: str) -> PulledMessages:
        """Pull until it is closed."""
        method = self._channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            request_serializer=StreamingPullRequest.SerializeToString,
            response_deserializer=StreamingPullResponse.FromString,
        )
        return PulledMessages(method, subscription)

    def _all(self, method: str, kind: str, field: str) -> list[Proto]:
        asked, answer = message(f"{kind}Request"), message(f"{kind}Response")
        found: list[Proto] = []
        token = ""
        while True:
            page = self._ask(method, asked(project=self._project, page_token=token), answer)
            found += getattr(page, field)
            token = page.next_page_token
            if not token:
                return found

    def _ask(self, method: str, request: Proto, answer: Proto) -> Proto:
        call = self._channel.unary_unary(
            f"/google.pubsub.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return call(request, timeout=_SECONDS, metadata=_METADATA)


class PulledMessages:
    """One StreamingPull: gives messages and acknowledges them at once."""

    def __init__(self, method: Any, subscription: str) -> None:  # noqa: ANN401  # grpc gives no type
        """Open the stream."""
        self._requests: queue.SimpleQueue[Proto | None] = queue.SimpleQueue()
        self._requests.put(
            StreamingPullRequest(subscription=subscription, stream_ack_deadline_seconds=_DEADLINE_SECONDS)
        )
        self._call = method(iter(self._requests.get, None), metadata=_METADATA)

    def __iter__(self) -> Iterator[Proto]:
        """Every message as it comes. Raises ``grpc.RpcError`` when the stream ends."""
        for response in self._call:
            received = response.received_messages
            if received:
                self._requests.put(StreamingPullRequest(ack_ids=[one.ack_id for one in received]))
            for one in received:
                yield one.message

    def close(self) -> None:
        """End the stream, also for whoever waits for its next message."""
        self._call.cancel()
        self._requests.put(None)
