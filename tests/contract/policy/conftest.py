"""A stack of its own for the policy function, with the orchestrator beside it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import firestore
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage, PullRequest, ReceivedMessage, Subscription

from emulator.stack import LocalStack, StackOptions
from tests.contract.mesh import Answer, Mesh, eventually
from tests.contract.roles import DEPLOYED, OTHER_CALLER_ROLE

NEEDED: Final = ("orchestrator", "policy", OTHER_CALLER_ROLE)
STALENESS_SECONDS: Final = 0.2
Event = dict[str, Any]


def _roles() -> dict[str, Any]:
    document = copy.deepcopy(DEPLOYED)
    document["roles"] = {name: document["roles"][name] for name in NEEDED}
    document["agents"] = {name: one for name, one in document["agents"].items() if one["role"] in NEEDED}
    subscriptions = document["subscriptions"]
    document["subscriptions"] = {name: one for name, one in subscriptions.items() if one["push"]["role"] in NEEDED}
    document["subscriptions"]["relay-intents"]["deadLetter"]["maxDeliveryAttempts"] = 5
    document["schedules"] = {name: one for name, one in document["schedules"].items() if one["role"] in NEEDED}
    document["roles"]["policy"]["allow"]["MESH_CALLERS"] += [f"role:{OTHER_CALLER_ROLE}"]
    local = document["local"]
    local["retry"] = {"minimumBackoffSeconds": 0.05, "maximumBackoffSeconds": 0.2}
    local["schedules"] = {name: one for name, one in local["schedules"].items() if name in document["schedules"]}
    local["environment"]["MESH_POLICY_STALENESS_SECONDS"] = str(STALENESS_SECONDS)
    local["developerMayPush"] = False  # as it is when deployed
    return document


class Policies:
    """The policy function from outside, and the events that the mesh tells."""

    def __init__(self, mesh: Mesh, stack: LocalStack, place: Path) -> None:
        """Listen to events from now on; `place` is the folder in which the command line finds the stack."""
        self.mesh = mesh
        self.place = place
        self.events: list[Event] = []
        self._channel = grpc.insecure_channel(stack.pubsub)
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self._subscription = f"projects/{stack.project}/subscriptions/tap"
        topic = f"projects/{stack.project}/topics/events"
        self._subscriber.create_subscription(Subscription(name=self._subscription, topic=topic))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def get(self, path: str, *, email: str = "") -> Answer:
        """GET from the policy function."""
        return self.mesh.raw("GET", path, None, role="policy", email=email)

    def post(self, path: str, body: object = None, *, email: str = "") -> Answer:
        """POST JSON to the policy function."""
        return self.mesh.post(path, body, role="policy", email=email)

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publish on a topic of the mesh."""
        full = f"projects/{self.mesh.stack.project}/topics/{topic}"
        message = PubsubMessage(data=data, attributes=dict(attributes))
        self._publisher.publish(PublishRequest(topic=full, messages=[message]))

    def told(self, wanted: Callable[[Event], bool], count: int = 1) -> list[Event]:
        """Wait for so many events; return all of them that have come."""

        def look() -> list[Event]:
            self._pull()
            found = [event for event in self.events if wanted(event)]
            return found if len(found) >= count else []

        return eventually(look)

    def about(self, tx_id: str, count: int = 2) -> dict[str, Event]:
        """Return the events of a transaction by type."""
        return {event["type"]: event["data"] for event in self.told(lambda one: one["subject"] == tx_id, count)}

    def _pull(self) -> None:
        request = PullRequest(subscription=self._subscription, max_messages=100)
        with suppress(DeadlineExceeded):  # nothing came
            self._take(self._subscriber.pull(request, timeout=2.0, retry=None).received_messages)

    def _take(self, received: Sequence[ReceivedMessage]) -> None:
        self.events += [json.loads(each.message.data) for each in received]
        if received:
            ids = [each.ack_id for each in received]
            self._subscriber.acknowledge(subscription=self._subscription, ack_ids=ids)


@pytest.fixture(scope="package")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Policies]:
    """The running function."""
    place = tmp_path_factory.mktemp("policy")
    roles = place / "roles.json"
    roles.write_text(json.dumps(_roles()))
    with LocalStack(StackOptions(state_dir=place / ".mesh", roles_file=roles)) as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FIRESTORE_EMULATOR_HOST", stack.firestore)
            database = firestore.Client(project=stack.project)
        mesh = Mesh(stack, Path(place), database)
        asking = Policies(mesh, stack, place)
        yield asking
        asking.close()
        mesh.close()
