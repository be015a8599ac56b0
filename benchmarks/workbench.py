"""Orchestrator and agent in one process on the real emulators, with every delivery made by hand and every call counted.

Nothing happens by itself here: `deliver` pulls what was published and pushes it, with a token, as Pub/Sub would. So
what a scenario costs is exact and the same every time.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.cloud import firestore
from google.cloud.firestore_v1.services.firestore import FirestoreClient as FirestoreApi
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from benchmarks.recorder import Bill, Recorder, delivered, message_bytes
from emulator.cloud import Cloud
from emulator.clouds import running_cloud
from emulator.delivery.envelope import push_envelope
from emulator.delivery.messages import Message
from emulator.delivery.push import CachedTokens
from emulator.oidc.issuer import Issuer
from emulator.oidc.keys import SigningKey
from emulator.oidc.metadata import MetadataServer

if TYPE_CHECKING:
    import flask

    from agent_mesh.platform.function_parts import FunctionParts
    from agent_mesh.platform.settings import Settings

PROJECT: Final = "mesh-cost"
CALLER: Final = "caller@example.com"
PUSHER: Final = "pusher@example.com"
ORCHESTRATOR: Final = "orchestrator@example.com"
TOPICS: Final = ("tasks", "results", "events", "tasks-dead")
"""`events` has no subscriber yet; `tasks-dead` is only published on here."""

Serve = Callable[["flask.Request"], "flask.Response"]


class Clock:
    """Noon today and what `pass_by` added: no scenario crosses midnight, where a new budget would be opened."""

    def __init__(self) -> None:
        """Stand at noon UTC."""
        self._now = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0).timestamp()
        self._started = time.monotonic()

    def now(self) -> float:
        """Return Unix seconds."""
        return self._now + time.monotonic() - self._started

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class Endpoint:
    """One function of this process: how it is called, and as which audience."""

    def __init__(self, serve: Serve, audience: str, recorder: Recorder, mint: Callable[[str, str], str]) -> None:
        """Requests are counted by `recorder`; tokens come from `mint`."""
        self._serve = serve
        self._recorder = recorder
        self._mint = mint
        self.audience = audience

    def post(self, path: str, body: bytes, email: str) -> flask.Response:
        """Call as `email`."""
        import flask
        from werkzeug.test import EnvironBuilder

        headers = [
            ("Authorization", f"Bearer {self._mint(self.audience, email)}"),
            ("Content-Type", "application/json"),
        ]
        builder = EnvironBuilder(path, method="POST", headers=headers, input_stream=io.BytesIO(body))
        builder.content_length = len(body)
        return self.answer(flask.Request(builder.get_environ()))

    def answer(self, request: flask.Request) -> flask.Response:
        """Serve one request."""
        self._recorder.add(Bill(requests=1))
        return self._serve(request)


class Workbench:
    """What `workbench` opens."""

    def __init__(self, cloud: Cloud, issuer: Issuer) -> None:
        """Create topics and subscriptions; the functions are wired by `open`."""
        self.recorder = Recorder()
        self.clock = Clock()
        self.issuer = issuer
        self._cloud = cloud
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self.recorder.channel(cloud.pubsub)))
        own = grpc.insecure_channel(cloud.pubsub)  # the deliveries' own channel: not counted
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=own))
        self._creator = PublisherClient(transport=PublisherGrpcTransport(channel=own))
        self.add_topics(*TOPICS)
        self.endpoints: dict[str, Endpoint] = {}

    def add_topics(self, *names: str) -> None:
        """Create topics, each with a subscription of the same name."""
        for name in names:
            topic = f"projects/{PROJECT}/topics/{name}"
            self._creator.create_topic(name=topic)
            self._subscriber.create_subscription(name=_subscription(name), topic=topic)

    def parts(self, role: str, settings: Settings) -> FunctionParts:
        """Return a function's parts: the real ones, on counted channels and on this clock."""
        from agent_mesh.platform.certificates import CertificateStore
        from agent_mesh.platform.events import EventLog
        from agent_mesh.platform.firestore import FirestoreClient
        from agent_mesh.platform.function_parts import FunctionParts
        from agent_mesh.platform.oidc import TokenVerifier
        from agent_mesh.platform.pubsub import PubsubPublisher

        database, publisher = FirestoreClient(PROJECT), PubsubPublisher()
        database._client = self.firestore()  # noqa: SLF001  # the one place where a counted channel can enter
        publisher._client = self.publisher  # noqa: SLF001
        verifier = TokenVerifier(CertificateStore(self.issuer.certs_url), issuers=[self.issuer.url])
        events = EventLog(publisher, settings.topic(settings.events_topic_id), role, self.clock)
        return FunctionParts(settings, database, publisher, verifier, events, self.clock)

    def serve(self, role: str, audience: str, serve: Serve) -> Endpoint:
        """Make a function callable."""
        endpoint = self.endpoints[role] = Endpoint(serve, audience, self.recorder, CachedTokens(self.issuer.mint))
        return endpoint

    def take(self, topic: str) -> list[Any]:
        """Return what waits on a topic, acknowledged."""
        path = _subscription(topic)
        leases = self._subscriber.pull(subscription=path, max_messages=1000, return_immediately=True).received_messages
        if leases:
            self._subscriber.acknowledge(subscription=path, ack_ids=[lease.ack_id for lease in leases])
        return [lease.message for lease in leases]

    def deliver(self, topic: str, role: str, path: str) -> list[int]:
        """Push what waits on a topic, each message until it is taken, as a retry policy does; return the statuses."""
        statuses: list[int] = []
        for message in self.take(topic):
            attempt = 0
            while attempt == 0 or statuses[-1] >= 300:  # noqa: PLR2004  # whatever is no success is delivered again
                attempt += 1
                statuses.append(self._push(message, topic, role, path, attempt).status_code)
        return statuses

    def drop(self, *topics: str) -> None:
        """Acknowledge whatever waits on topics."""
        for topic in topics:
            while self.take(topic):
                pass

    def _push(self, message: Any, topic: str, role: str, path: str, attempt: int) -> flask.Response:  # noqa: ANN401
        attributes = dict(message.attributes)
        wrapped = Message(message.message_id, message.data, "2026-11-20T12:00:00Z", attributes)
        self.recorder.add(delivered(message_bytes(message.data, attributes)))
        return self.endpoints[role].post(path, push_envelope(wrapped, _subscription(topic), attempt), PUSHER)

    def firestore(self) -> firestore.Client:
        """Return a client whose calls are counted."""
        client = firestore.Client(project=PROJECT)
        transport = FirestoreGrpcTransport(channel=self.recorder.channel(self._cloud.firestore))
        client._firestore_api_internal = FirestoreApi(transport=transport)  # noqa: SLF001
        return client


def _subscription(topic: str) -> str:
    return f"projects/{PROJECT}/subscriptions/{topic}"


@contextmanager
def workbench() -> Iterator[Workbench]:
    """Start emulators and issuer; set the environment that google-auth reads at import. One per process."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(TemporaryDirectory(prefix="mesh-cost-")))
        cloud = exits.enter_context(running_cloud(folder))
        issuer = exits.enter_context(Issuer(SigningKey.load_or_create(folder / "key.pem")))
        metadata = exits.enter_context(MetadataServer(PROJECT, ORCHESTRATOR, issuer.mint))
        os.environ |= {
            "GCP_PROJECT": PROJECT,
            "FIRESTORE_EMULATOR_HOST": cloud.firestore,
            "PUBSUB_EMULATOR_HOST": cloud.pubsub,
            "GCE_METADATA_HOST": metadata.address,
            "GCE_METADATA_IP": metadata.address,
        }
        yield Workbench(cloud, issuer)


@contextmanager
def door(bench: Workbench, role: str) -> Iterator[str]:
    """Open a function, wired by then or later, to HTTP on a free port while the block runs; give its URL."""
    import flask
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *_arguments: Any) -> None:  # noqa: ANN401
            """Stay silent."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ANN401  # WSGI
        return bench.endpoints[role].answer(flask.Request(environ))(environ, start_response)

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings_of(issuer: Issuer, variables: Mapping[str, object]) -> Settings:
    """Return the settings of a function here; `variables` that are no text become JSON."""
    from agent_mesh.platform.settings import Settings

    common = {"GCP_PROJECT": PROJECT, "OIDC_ISSUER": issuer.url, "OIDC_CERTS_URL": issuer.certs_url}
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    return Settings.from_environment(common | given)
