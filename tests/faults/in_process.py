"""The mesh in one process: orchestrator, agent and Firestore are real; clock, messages and faults are the test's."""

from __future__ import annotations

import base64
import json
import random
import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, TypeVar

import pytest
from google.api_core import exceptions as google_errors
from google.cloud.firestore_v1.services.firestore import FirestoreClient as FirestoreApi
from pydantic import JsonValue

from agent_mesh.agents.admission import Price
from agent_mesh.agents.errors import RetryableError, TerminalError
from agent_mesh.agents.held_run import Run
from agent_mesh.agents.routes import AgentFunction
from agent_mesh.contracts.problems import MeshError, Unavailable
from agent_mesh.contracts.push import PushEnvelope, PushMessage
from agent_mesh.contracts.tasks import DispatchRequest, Mode, TaskStatus
from agent_mesh.dispatch.dispatcher import Dispatched
from agent_mesh.dispatch.orchestrator import Orchestrator
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.platform.certificates import CertificateStore
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient, LostRace
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.oidc import TokenVerifier
from agent_mesh.platform.pubsub import Message
from agent_mesh.platform.settings import Settings

T = TypeVar("T")
AGENT: Final = "probe"
CALLER: Final = "caller@example.com"
PRICE: Final = Price(default=3, maximum=5)
LEASE_S: Final = 60.0
REPUBLISH_S: Final = 60.0
STALENESS_S: Final = 2.0
_ENDS: Final = {f"mesh.task.{status.value}" for status in TaskStatus if status.terminal}
MAX_DELIVERIES: Final = 5
MAX_ATTEMPTS: Final = 5


class PowerCut(BaseException):
    """The process is gone: nothing below this frame may clean up or answer."""


class Fault(StrEnum):
    """What may happen to one commit or publish."""

    DIES_BEFORE = "the process dies before it"
    DIES_AFTER = "the process dies after it"
    REFUSED = "it is refused, and nothing happens"
    REPEATED = "its answer is lost, and the client library repeats it"
    UNANSWERED = "it happens, and its answer is lost"


class Faults:
    """Lets one fault happen to the n-th commit or publish from now."""

    def __init__(self) -> None:
        self._planned: Fault | None = None
        self._left = 0

    def arm(self, fault: Fault, at: int) -> None:
        self._planned, self._left = fault, at

    def disarm(self) -> bool:
        """Return whether the fault happened."""
        happened, self._planned = self._planned is None, None
        return happened

    def around(self, call: Callable[[], T], refused: Exception, unanswered: Exception) -> T:
        """Do `call`, or what the armed fault makes of it."""
        self._left -= 1
        if self._planned is None or self._left > 0:
            return call()
        fault, self._planned = self._planned, None
        if fault is Fault.DIES_BEFORE:
            raise PowerCut
        if fault is Fault.REFUSED:
            raise refused
        call()
        if fault is Fault.DIES_AFTER:
            raise PowerCut
        if fault is Fault.UNANSWERED:
            raise unanswered
        return call()


@dataclass
class SetClock:
    """Time that stands until a test moves it."""

    time: float = 1_800_000_000.0

    def now(self) -> float:
        return self.time


@dataclass
class Letter:
    """A message on its way on one topic. `done` when it was acknowledged; it may come again all the same."""

    topic: str
    message: Message
    deliveries: int = 0
    done: bool = False
    message_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.message.data)
        return content

    def envelope(self) -> PushEnvelope:
        message = PushMessage(
            data=base64.b64encode(self.message.data).decode(),
            attributes=dict(self.message.attributes),
            message_id=self.message_id,
        )
        subscription = f"projects/p/subscriptions/{self.topic}"
        return PushEnvelope(message=message, subscription=subscription, delivery_attempt=self.deliveries)


class Post:
    """Pub/Sub: takes what is published and leaves every delivery to the test."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.letters: list[Letter] = []
        self.events: list[dict[str, Any]] = []

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        outage = Unavailable("The post is down.", retry_after_s=1)
        return self._faults.around(lambda: self._take(topic.rsplit("/", 1)[-1], messages), outage, outage)

    def _take(self, topic: str, messages: Sequence[Message]) -> list[str]:
        if topic == "events":
            self.events += [json.loads(message.data) for message in messages]
        else:
            self.letters += [Letter(topic, message) for message in messages]
        return [uuid.uuid4().hex for _ in messages]

    def waiting(self) -> list[Letter]:
        return [letter for letter in self.letters if not letter.done]


class Step(StrEnum):
    """What a handler does in one attempt."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    IS_FINAL = "is final"
    DIES = "dies"
    OUTLIVES_ITS_LEASE = "outlives its lease"
    IS_DELIVERED_AGAIN = "is delivered again"


@dataclass(frozen=True)
class Start:
    """A handler that was started."""

    run_id: str
    at: float
    after_its_end: bool


class World:
    """One mesh between `with` and its end; its state is its own, for its project is."""

    def __init__(self, limit_cents: int = 1_000_000) -> None:
        self.faults, self.clock = Faults(), SetClock()
        self.post = Post(self.faults)
        self.database = FirestoreClient(f"world-{uuid.uuid4().hex[:20]}")
        self.settings = Settings.from_environment(
            {
                "GCP_PROJECT": "p",
                "MESH_AGENTS": json.dumps({AGENT: {"url": "http://x", "audience": "x", "maxCostCents": PRICE.maximum}}),
                "AGENT_BUDGET_CENTS": str(limit_cents),
                "AGENT_LEASE_SECONDS": str(LEASE_S),
                "MESH_REPUBLISH_SECONDS": str(REPUBLISH_S),
                "MESH_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
                "MESH_CONTROL_STALENESS_SECONDS": str(STALENESS_S),
            }
        )
        self.mesh = Orchestrator(self._parts("orchestrator"))
        self.other = Orchestrator(self._parts("orchestrator"))
        self.agent = AgentFunction(AGENT, "", PRICE, self._handle, self._parts(AGENT))
        self.plans: dict[int, list[Step]] = {}
        self.starts: list[Start] = []
        self.successes: Counter[str] = Counter()
        self.excuses: Counter[str] = Counter()
        self.ended: dict[str, TaskRecord] = {}

    @classmethod
    @contextmanager
    def running(cls, limit_cents: int = 1_000_000) -> Iterator[World]:
        """Run a world whose commits pass its faults."""
        world = cls(limit_cents)
        commit = FirestoreApi.commit
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secrets, "token_bytes", random.Random(0).randbytes)  # ids order what falls due together
            patch.setattr(
                FirestoreApi,
                "commit",
                lambda api, *given, **named: world.faults.around(
                    lambda: commit(api, *given, **named),
                    google_errors.Aborted("Too much contention."),  # type: ignore[no-untyped-call]
                    google_errors.DeadlineExceeded("No answer."),  # type: ignore[no-untyped-call]
                ),
            )
            yield world
        world.database.client.close()  # type: ignore[no-untyped-call]

    def _parts(self, role: str) -> FunctionParts:
        topic = self.settings.topic(self.settings.events_topic_id)
        events = EventLog(self.post, topic, role, self.clock)
        verifier = TokenVerifier(CertificateStore("http://127.0.0.1:9/"), issuers=["nobody"])
        return FunctionParts(self.settings, self.database, self.post, verifier, events, self.clock)

    def dispatch(self, n: int, **options: Any) -> Dispatched:
        """Dispatch task number `n` over Pub/Sub. Raises the refusal, or `PowerCut`."""
        options = {"ttl": self.clock.time + 86_000, "budget_cents": PRICE.maximum, **options}
        request = DispatchRequest(agent=AGENT, payload={"n": n}, mode=Mode.PUBSUB, **options)
        return self.call(lambda: self.mesh.dispatcher.dispatch(request, CALLER))

    def deliver(self, letter: Letter) -> bool:
        """Push a letter; return whether it was acknowledged. After too many refusals it is a dead letter."""
        letter.deliveries += 1
        receivers = {"tasks": self.agent.run_for_push, "results": self.mesh.results.arrive_by_push}
        try:
            self.call(lambda: receivers.get(letter.topic, self.mesh.control.bury)(letter.envelope()))
        except (MeshError, PowerCut):
            if letter.topic in receivers and letter.deliveries >= MAX_DELIVERIES and not letter.done:
                letter.done = True
                source = {"CloudPubSubDeadLetterSourceDeliveryCount": str(letter.deliveries)}
                dead = replace(letter.message, attributes={**letter.message.attributes, **source})
                self.post.letters.append(Letter(f"{letter.topic}-dead", dead))
            return False
        letter.done = True
        return True

    def sweep(self, instance: Orchestrator | None = None) -> None:
        """Sweep once, as the schedule does: a failed one is followed by the next."""
        try:
            self.call(lambda: (instance or self.mesh).sweep().run(0))
        except (PowerCut, Unavailable):
            return

    def call(self, call: Callable[[], T]) -> T:
        """Serve one request: what it gathered as events is published, unless the process dies first."""
        return copy_context().run(self._serve, call)

    def _serve(self, call: Callable[[], T]) -> T:
        events = self._parts("orchestrator").events
        events.begin()
        try:
            answer = call()
        except LostRace as aborted:  # the function app answers it so
            events.flush()
            raise Unavailable(str(aborted), retry_after_s=1) from aborted
        except MeshError:
            events.flush()
            raise
        events.flush()
        return answer

    def rest(self, rounds: int = 80) -> None:
        """Deliver, sweep and let time pass until nothing is left to do."""
        for _ in range(rounds):
            for letter in self.post.waiting():
                self.deliver(letter)
            self.sweep()
            if not self.post.waiting():
                due = self.mesh.tasks.next_due()
                if due is None and not self.mesh.tasks.due(1):
                    return
                if due is not None:
                    self.clock.time = max(self.clock.time, due.timestamp())
            self.clock.time += 1.0
        message = f"no rest after {rounds} rounds: {self.unfinished()}, {self.post.waiting()}"
        raise AssertionError(message)

    def tasks(self) -> dict[str, TaskRecord]:
        """Read every task."""
        found = self.database.collection("tasks").stream()
        return {each.id: TaskRecord.from_document(each.id, each.to_dict() or {}, each.update_time) for each in found}

    def unfinished(self) -> list[TaskRecord]:
        return [task for task in self.tasks().values() if not task.status.terminal]

    def budgets(self) -> dict[str, tuple[int, int]]:
        """Return used and limit of each budget, in cents."""
        found = self.database.collection("budgets").stream()
        return {each.id: (each.get("usedCents"), each.get("limitCents")) for each in found}

    def dead_tasks(self) -> set[str]:
        """Return the tasks that lie with the dead letters."""
        return {each.get("taskId") for each in self.database.collection("dead").stream()}

    def endings(self, task_id: str) -> set[str]:
        """Return the terminal states that events told of a task."""
        events = [each for each in self.post.events if each["subject"] == task_id and each["type"] in _ENDS]
        return {each["data"]["status"] for each in events}

    def _handle(self, payload: dict[str, JsonValue], run: Run) -> JsonValue:
        n = payload["n"]
        assert isinstance(n, int)
        self.starts.append(Start(run.run_id, self.clock.time, run.run_id in self.ended))
        plan = self.plans.get(n, [])
        step = plan.pop(0) if plan else Step.SUCCEEDS
        if step is Step.DIES:
            raise PowerCut
        if step is Step.FAILS:
            raise RetryableError("Not this time.", cost_cents=1)
        if step is Step.IS_FINAL:
            raise TerminalError("Never.", code="final", cost_cents=1)
        if step is Step.OUTLIVES_ITS_LEASE:
            self.excuses[run.run_id] += 1
            self.clock.time += LEASE_S + REPUBLISH_S + 10
        if step in {Step.OUTLIVES_ITS_LEASE, Step.IS_DELIVERED_AGAIN}:
            self._go_on_elsewhere(run)
        self.successes[run.run_id] += 1
        return {"n": n}

    def _go_on_elsewhere(self, run: Run) -> None:
        """Meanwhile the sweep comes by, and every message of this task is delivered once more."""
        self.sweep()
        for letter in list(self.post.letters):
            if letter.topic == "tasks" and letter.content["taskId"] == run.run_id:
                self.deliver(letter)
