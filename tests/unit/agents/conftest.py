"""One real agent over a real Firestore: called over its app with real tokens, or handed pushes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import flask
import pytest
from pydantic import JsonValue
from typing_extensions import override
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from agent_mesh.agents.admission import Price
from agent_mesh.agents.control import AgentControls
from agent_mesh.agents.execution import Handler
from agent_mesh.agents.held_run import Run
from agent_mesh.agents.routes import AgentFunction
from agent_mesh.agents.runs import RunStore
from agent_mesh.budgets import Budgets
from agent_mesh.contracts.push import PushEnvelope, PushMessage
from agent_mesh.contracts.runs import RunResult
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.logs import current_trace
from agent_mesh.platform.settings import Settings
from agent_mesh.webhooks import verify
from tests.conftest import HandClock, RecordingPublisher
from tests.unit.platform.identities import Identities

AUDIENCE = "https://light.example.com"
RUNNER = "runner@example.com"
OTHER = "other@example.com"
ORCHESTRATOR = "orchestrator@example.com"
PRICE = 5
LEASE_S = 30.0
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
SUBSCRIPTION = "projects/p/subscriptions/tasks-light"


@dataclass
class Work:
    """The agent's handler: does what the test last said, and counts."""

    calls: list[dict[str, JsonValue]] = field(default_factory=list)
    act: Callable[[dict[str, JsonValue], Run], object] = lambda payload, _run: {"echo": payload}

    def __call__(self, payload: dict[str, JsonValue], run: Run) -> object:
        """Handle one payload."""
        self.calls.append(payload)
        return self.act(payload, run)

    def fails_with(self, error: Exception) -> None:
        """Let it raise from now on."""

        def fail(_payload: object, _run: object) -> object:
            raise error

        self.act = fail

    def returns(self, result: object) -> None:
        """Let it return this from now on."""
        self.act = lambda _payload, _run: result


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    body: dict[str, Any]
    headers: Headers

    @property
    def code(self) -> str:
        """The code of a problem, nothing for an answer."""
        return str(self.body.get("code", ""))


@dataclass
class AgentInHand:
    """The agent, and everything around it."""

    function: AgentFunction
    work: Work
    parts: FunctionParts
    publisher: RecordingPublisher
    clock: HandClock
    identities: Identities

    def run(self, by: str | None = RUNNER, **changes: object) -> Answer:
        """Call `/run` with a request that is accepted as it is."""
        given = {"payload": {"n": 1}, "ttl": self.clock.now() + 60, "budgetCents": 10}
        body = {name: value for name, value in (given | changes).items() if value is not None}
        return self.post("/run", body, by)

    def post(self, path: str, body: object, by: str | None) -> Answer:
        """Call the agent over its app."""
        sent = self.identities.header(by, AUDIENCE) if by else {}
        builder = EnvironBuilder(path=path, method="POST", data=json.dumps(body), headers=Headers(sent))
        response = self.function.app.serve(flask.Request(builder.get_environ()))
        text = response.get_data()
        return Answer(response.status_code, json.loads(text) if text else {}, response.headers)

    def push(self, message: object, message_id: str = "", **attributes: str) -> None:
        """Hand the agent what Pub/Sub pushes; raise what keeps it from being acknowledged."""
        self.function.run_for_push(envelope(message, message_id, **attributes))

    def task(self, **changes: object) -> dict[str, object]:
        """Return a task's message."""
        return {"payload": {"n": 1}, "ttl": self.clock.now() + 60, "budgetCents": 10, "taskId": "task_1"} | changes

    @property
    def runs(self) -> RunStore:
        """The runs, to look at."""
        return RunStore(self.parts.database, Budgets(self.parts.database, 100), self.clock, LEASE_S, 30)

    @property
    def controls(self) -> AgentControls:
        """The switches, to set."""
        return AgentControls(self.parts.database, self.clock, 0)

    def results(self) -> list[RunResult]:
        """Return the results that were published."""
        return [RunResult.model_validate_json(message.data) for message in self.publisher.on("results")]

    def events(self) -> list[str]:
        """Return the types of the events that were published."""
        return [message.attributes["type"] for message in self.publisher.on("events")]

    def spent(self) -> int:
        """Return what the agent's budget says is reserved or spent, in cents."""
        return sum(document.get("usedCents") for document in self.parts.database.collection("budgets").get())

    def stored(self) -> list[dict[str, Any]]:
        """Return every run's document."""
        return [document.to_dict() or {} for document in self.parts.database.collection("runs").get()]


@dataclass
class Receiver:
    """A callback's receiver on this machine."""

    status: int = 200
    url: str = ""
    bodies: list[dict[str, object]] = field(default_factory=list)


def envelope(message: object, message_id: str = "", **attributes: str) -> PushEnvelope:
    """Return a message as Pub/Sub pushes it; bytes as they are, anything else as JSON."""
    raw = message if isinstance(message, bytes) else json.dumps(message).encode()
    pushed = PushMessage(data=base64.b64encode(raw).decode(), attributes=attributes, message_id=message_id)
    return PushEnvelope(message=pushed, subscription=SUBSCRIPTION)


@pytest.fixture(autouse=True)
def _no_trace() -> Iterator[None]:
    token = current_trace.set(None)
    yield
    current_trace.reset(token)


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    """Whoever may call; tokens are read at the time at which every test begins."""
    return Identities.at(tmp_path_factory.mktemp("issuer"), HandClock())


@pytest.fixture
def environment() -> dict[str, str]:
    """The agent's environment; a test may add to it."""
    return {
        "GCP_PROJECT": "p",
        "OIDC_AUDIENCE": AUDIENCE,
        "MESH_RUNNERS": f"{RUNNER},{OTHER}",
        "MESH_TRUSTED_RUNNERS": ORCHESTRATOR,
        "MESH_TASK_PUSHERS": "push@example.com",
        "MESH_CONTROL_STALENESS_SECONDS": "0",
        "AGENT_LEASE_SECONDS": str(LEASE_S),
        "AGENT_BUDGET_CENTS": "100",
        "WEBHOOK_SECRETS": SECRET,
        "CALLBACK_ALLOWED_HOSTS": "127.0.0.1",
    }


@pytest.fixture
def parts(
    environment: dict[str, str],
    database: FirestoreClient,
    publisher: RecordingPublisher,
    clock: HandClock,
    identities: Identities,
) -> FunctionParts:
    """What the agent is wired from."""
    events = EventLog(publisher, "projects/p/topics/events", "light", clock)
    events.begin()
    return FunctionParts(
        Settings.from_environment(environment), database, publisher, identities.verifier, events, clock
    )


@pytest.fixture
def agent_with(
    parts: FunctionParts, publisher: RecordingPublisher, clock: HandClock, identities: Identities
) -> Callable[[Handler | None, Price], AgentInHand]:
    """Makes agents with another handler or price."""

    def make(handler: Handler | None, price: Price) -> AgentInHand:
        work = Work()
        function = AgentFunction("light", "", price, handler or work, parts)
        return AgentInHand(function, work, parts, publisher, clock, identities)

    return make


@pytest.fixture
def agent(agent_with: Callable[[Handler | None, Price], AgentInHand]) -> AgentInHand:
    """The agent."""
    return agent_with(None, Price(PRICE, PRICE))


@pytest.fixture
def receiver(clock: HandClock) -> Iterator[Receiver]:
    """A receiver that checks signatures."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            verify(dict(self.headers), body, [SECRET], now=clock.now())
            receiver.bodies.append(json.loads(body))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/done"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield receiver
        server.shutdown()
