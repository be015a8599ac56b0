from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.pubsub_v1 import PublisherClient, SchemaServiceClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.schema_service.transports.grpc import SchemaServiceGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage, PullRequest, PullResponse, ReceivedMessage, Subscription

from emulator.pubsub.server import PubsubOptions, PubsubServer

SIZES = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


@dataclass
class Place:
    """A project of its own on a Pub/Sub, with Google's clients."""

    channel: grpc.Channel
    project: str = field(default_factory=lambda: f"projects/test-{secrets.token_hex(5)}")

    def __post_init__(self) -> None:
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self.channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self.channel))
        self.schemas = SchemaServiceClient(transport=SchemaServiceGrpcTransport(channel=self.channel))

    def name(self, kind: str, name: str = "") -> str:
        return f"{self.project}/{kind}/{name or f'x{secrets.token_hex(4)}'}"

    def topic(self, **settings: Any) -> str:
        name = settings.pop("name", None) or self.name("topics")
        return str(self.publisher.create_topic(request={"name": name, **settings}).name)

    def subscription(self, topic: str, **settings: Any) -> str:
        name = self.name("subscriptions")
        return str(self.subscriber.create_subscription(request={"name": name, "topic": topic, **settings}).name)

    def settings(self, subscription: str) -> Subscription:
        return self.subscriber.get_subscription(subscription=subscription)

    def publish(self, topic: str, *texts: str, key: str = "", **attributes: str) -> list[str]:
        messages = [PubsubMessage(data=text.encode(), ordering_key=key, attributes=attributes) for text in texts]
        return list(self.publisher.publish(topic=topic, messages=messages).message_ids)

    def pull(self, subscription: str, most: int = 100) -> list[ReceivedMessage]:
        """What is there now, without the client's warning about return_immediately."""
        asked = PullRequest(subscription=subscription, max_messages=most, return_immediately=True)
        return list(self.raw("Subscriber/Pull", PullRequest, PullResponse)(asked).received_messages)

    def raw(self, method: str, request: Any = None, answer: Any = None) -> Any:
        """A method without the client around it: of bytes, unless the message classes are given."""
        return self.channel.unary_unary(
            f"/google.pubsub.v1.{method}",
            request_serializer=request.serialize if request else None,
            response_deserializer=answer.deserialize if answer else None,
        )

    def texts(self, subscription: str, most: int = 100) -> list[str]:
        return [one.message.data.decode() for one in self.pull(subscription, most)]

    def ack(self, subscription: str, received: Sequence[ReceivedMessage]) -> None:
        self.subscriber.acknowledge(subscription=subscription, ack_ids=[one.ack_id for one in received])

    def nack(self, subscription: str, received: Sequence[ReceivedMessage], seconds: int = 0) -> None:
        ids = [one.ack_id for one in received]
        self.subscriber.modify_ack_deadline(subscription=subscription, ack_ids=ids, ack_deadline_seconds=seconds)


@pytest.fixture(scope="session")
def server() -> Iterator[PubsubServer]:
    """One embedded Pub/Sub for all tests; each test has a project of its own."""
    options = PubsubOptions(mint=lambda audience, email: fake_token({"aud": audience, "email": email}))
    with PubsubServer(options) as running:
        yield running


@pytest.fixture(scope="session")
def channel(server: PubsubServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address, options=SIZES) as open_channel:
        yield open_channel


@pytest.fixture
def place(channel: grpc.Channel) -> Place:
    """An empty project."""
    return Place(channel)


def fake_token(claims: dict[str, object]) -> str:
    """Something that looks like a token and says what it is for; it expires in an hour."""
    import base64

    body = json.dumps({"exp": time.time() + 3600, **claims}).encode()
    return f"h.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.s"


@dataclass(frozen=True)
class Delivery:
    """One push as the endpoint saw it."""

    headers: dict[str, str]
    body: bytes
    time: float

    @property
    def envelope(self) -> Any:
        return json.loads(self.body)


class Endpoint:
    """Answers pushes with the next of `statuses` (then 204), after `delay` seconds, and keeps them."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.otherwise = 204
        self.delay = 0.0
        self.received: list[Delivery] = []
        self.running = 0
        self.most_running = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/push"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, delivery: Delivery) -> int:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.received.append(delivery)
        status = self.statuses.pop(0) if self.statuses else self.otherwise
        time.sleep(self.delay)
        self.running -= 1
        return status

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Stay silent."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = endpoint.take(Delivery(dict(self.headers), body, time.monotonic()))
            self.send_response(status)
            if status >= 200 and status != 204:
                self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A push endpoint."""
    running = Endpoint()
    yield running
    running.close()


@pytest.fixture
def refused() -> Callable[..., GoogleAPICallError]:
    """Make a call that must be refused; returns the refusal."""

    def refusal(call: Callable[[], object]) -> GoogleAPICallError:
        with pytest.raises(GoogleAPICallError) as caught:
            call()
        return caught.value

    return refusal
