"""A whole mesh in one process: real orchestrator, real agent, real Firestore; messages are carried by hand."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import JsonValue

from agent_mesh.agents.admission import Price
from agent_mesh.agents.held_run import Run
from agent_mesh.agents.routes import AgentFunction
from agent_mesh.contracts.problems import MeshError
from agent_mesh.contracts.push import PushEnvelope, PushMessage
from agent_mesh.contracts.tasks import DispatchRequest, Task
from agent_mesh.dispatch.orchestrator import Orchestrator
from agent_mesh.platform.certificates import CertificateStore
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.oidc import TokenVerifier
from agent_mesh.platform.pubsub import Message
from agent_mesh.platform.settings import Settings
from tests.conftest import HandClock, RecordingPublisher

CALLER = "ann@example.com"
PRICE = 5


@dataclass
class Handler:
    """The agent's handler: does what the test last said, and counts."""

    calls: list[dict[str, JsonValue]] = field(default_factory=list)
    act: Callable[[dict[str, JsonValue], Run], JsonValue] = lambda payload, _run: {"echo": payload}

    def __call__(self, payload: dict[str, JsonValue], run: Run) -> JsonValue:
        """Handle one payload."""
        self.calls.append(payload)
        return self.act(payload, run)


@dataclass
class Mesh:
    """The mesh in hand."""

    orchestrator: Orchestrator
    agent: AgentFunction
    handler: Handler
    publisher: RecordingPublisher
    clock: HandClock

    def request(self, **changes: Any) -> DispatchRequest:
        """Return a request that is accepted as it is."""
        now = self.clock.now()
        given: dict[str, Any] = {
            "agent": "light",
            "payload": {"n": 1},
            "ttl": now + 60.0,
            "budget_cents": 10,
            "mode": "pubsub",
        }
        return DispatchRequest.model_validate(given | changes)

    def dispatch(self, **changes: Any) -> Task:
        """Dispatch and return the task as it was answered."""
        return self.orchestrator.dispatcher.dispatch(self.request(**changes), CALLER).task.view()

    def task(self, task_id: str) -> Task:
        """Return a task as its caller sees it now."""
        return self.orchestrator.view(self.orchestrator.visible(task_id, CALLER))

    def envelope(self, message: Message, subscription: str, attempt: int = 1) -> PushEnvelope:
        """Return a message as Pub/Sub pushes it."""
        data = base64.b64encode(message.data).decode()
        pushed = PushMessage(data=data, attributes=dict(message.attributes), message_id=str(id(message)))
        return PushEnvelope(
            message=pushed, subscription=f"projects/p/subscriptions/{subscription}", delivery_attempt=attempt
        )

    def deliver_tasks(self, messages: list[Message] | None = None) -> list[MeshError]:
        """Push task messages to the agent; return the refusals, each of which Pub/Sub would deliver again."""
        refused = []
        for message in self._take("tasks") if messages is None else messages:
            try:
                self.agent.run_for_push(self.envelope(message, "tasks-light"))
            except MeshError as error:
                refused.append(error)
        return refused

    def deliver_results(self) -> None:
        """Push result messages to the orchestrator."""
        for message in self._take("results"):
            self.orchestrator.results.arrive_by_push(self.envelope(message, "results"))

    def bury(self, message: Message, reason: str = "") -> None:
        """Push a message to the orchestrator as a dead letter."""
        attributes = dict(message.attributes) | ({"deadLetterReason": reason} if reason else {})
        letter = Message(message.data, attributes)
        self.orchestrator.control.bury(self.envelope(letter, "tasks-dead"))

    def run(self, **changes: Any) -> Task:
        """Dispatch, deliver everything once, and return the task."""
        accepted = self.dispatch(**changes)
        self.deliver_tasks()
        self.deliver_results()
        return self.task(accepted.task_id)

    def spent(self) -> int:
        """Return what the agent's budget says is reserved or spent, in cents."""
        documents = self.orchestrator.tasks._database.collection("budgets").get()  # the state itself
        return sum(document.get("usedCents") for document in documents)

    def _take(self, topic: str) -> list[Message]:
        return self.publisher.messages.pop(topic, [])


@pytest.fixture
def settings() -> Settings:
    """Settings of both functions; a test may replace them."""
    return settings_with()


def settings_with(**changes: str) -> Settings:
    """Return settings as an environment gives them."""
    environment = {
        "GCP_PROJECT": "p",
        "MESH_AGENTS": '{"light": {"url": "http://127.0.0.1:9", "audience": "http://light", "maxCostCents": 5}}',
        "MESH_CONTROL_STALENESS_SECONDS": "0",
        "MESH_REPUBLISH_SECONDS": "10",
        "AGENT_LEASE_SECONDS": "30",
        "WEBHOOK_SECRETS": "whsec_" + base64.b64encode(b"k" * 32).decode(),
        "CALLBACK_ALLOWED_HOSTS": "127.0.0.1",
    }
    return Settings.from_environment(environment | changes)


@pytest.fixture
def parts(
    settings: Settings, database: FirestoreClient, publisher: RecordingPublisher, clock: HandClock
) -> FunctionParts:
    """Everything that both functions are wired from."""
    verifier = TokenVerifier(CertificateStore("http://127.0.0.1:9/certs"))
    return FunctionParts(settings, database, publisher, verifier, EventLog(publisher, "t/events", "test", clock), clock)


@pytest.fixture
def mesh(parts: FunctionParts, publisher: RecordingPublisher, clock: HandClock) -> Mesh:
    """The mesh in hand."""
    handler = Handler()
    agent = AgentFunction("light", "", Price(PRICE, PRICE), handler, parts)
    return Mesh(Orchestrator(parts), agent, handler, publisher, clock)
