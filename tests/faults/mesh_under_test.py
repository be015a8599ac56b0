"""A running mesh as a fault test sees it: it arms crash points, calls as a client would, and reads what is left."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from google.cloud import firestore

from agent_mesh.client import ConnectionFailed, MeshClient, ProblemError
from agent_mesh.contracts.tasks import Task, TaskStatus
from emulator.pubsub_wire import PubSubWire
from emulator.stack import LocalStack

Answer = TypeVar("Answer")
PATIENCE_S = 30.0
AGENT = "probe"


@dataclass(frozen=True)
class Ending:
    """What is left of a case when all is quiet. Equal with and without a crash, that is the whole claim.

    `effects` counts runs that had one; `told` the different ids of terminal events.
    """

    status: str
    result: Any
    code: str | None
    cost_cents: int
    effects: int
    told: int
    letters: int = 0
    callback: str | None = None
    webhook_ids: int = 0


def eventually(look: Callable[[], Answer | None], what: str, seconds: float = PATIENCE_S) -> Answer:
    """Return what `look` finds, as soon as it finds something true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return found


def insist(call: Callable[[], Answer]) -> Answer:
    """Repeat a call whose connection broke or that was asked to come again, as any careful caller does."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except (ConnectionFailed, ProblemError) as error:
            passing = isinstance(error, ConnectionFailed) or error.status == 503 or error.code == "busy"
            if not passing or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


class Receiver:
    """Takes callbacks and remembers the `webhook-id` of each."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        seen = self.ids

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                seen.append(self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/done"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class MeshUnderTest:
    """The stack, a client of it, and windows on what it stores, publishes and does."""

    stack: LocalStack
    client: MeshClient
    database: firestore.Client
    wire: PubSubWire
    receiver: Receiver
    crash_file: Path
    effects_file: Path
    _events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events_subscription(self) -> str:
        return f"projects/{self.stack.project}/subscriptions/events-of-the-test"

    def arm(self, point: str) -> None:
        """Let the next process that comes by `point` die there."""
        part = self.crash_file.with_suffix(".part")
        part.write_text(point)
        part.rename(self.crash_file)

    def disarm(self) -> bool:
        """Take an unused arm away; return whether it was used."""
        used = not self.crash_file.exists()
        self.crash_file.unlink(missing_ok=True)
        return used

    def dispatch(self, **options: Any) -> Task:
        """Dispatch with a key of its own; a broken connection is answered by the same request again."""
        case = options.pop("case", None) or uuid.uuid4().hex
        work = {"case": case, **options.pop("work", {})}
        request = {"budget_cents": 5, "idempotency_key": case, **options}
        request.setdefault("ttl", time.time() + 60)
        return insist(lambda: self.client.dispatch(AGENT, work, **request))

    def ended(self, task_id: str) -> Task:
        """Wait until a task has ended."""

        def terminal() -> Task | None:
            task = insist(lambda: self.client.task(task_id))
            return task if task.status.terminal else None

        return eventually(terminal, f"{task_id} ends")

    def quiet(self) -> None:
        """Wait until no message is on its way and nothing is left to do."""
        calm = 0

        def still() -> bool:
            nonlocal calm
            calm = calm + 1 if not self._leased() and not self._open_tasks() else 0
            return calm > 6

        eventually(still, "all is quiet")

    def ending(self, task: Task, case: str) -> Ending:
        """Return what a case came to, once all is quiet."""
        self.quiet()
        task = insist(lambda: self.client.task(task.task_id))
        return Ending(
            status=task.status.value,
            result=task.result,
            code=task.error.code if task.error else None,
            cost_cents=task.cost_cents,
            effects=len({run_id for run_id, _ in self.effects(case)}),
            told=len({event["id"] for event in self.terminal_events(task.task_id)}),
            letters=sum(letter.task_id == task.task_id for letter in self.client.iter_dead()),
            callback=task.callback.status if task.callback else None,
            webhook_ids=len({each for each in self.receiver.ids if each == task.task_id}),
        )

    def effects(self, case: str) -> list[tuple[str, int]]:
        """Return run id and attempt of every completed effect of a case."""
        lines = self.effects_file.read_text().splitlines() if self.effects_file.exists() else []
        words = [line.split() for line in lines]
        return [(run_id, int(attempt)) for of_case, run_id, attempt in words if of_case == case]

    def terminal_events(self, task_id: str) -> list[dict[str, Any]]:
        """Return the events that said that a task had ended."""
        while leases := self.wire.pull(self.events_subscription, 100):
            self._events += [json.loads(lease.message.data) for lease in leases]
            self.wire.acknowledge(self.events_subscription, [lease.ack_id for lease in leases])
        ends = {f"mesh.task.{status.value}" for status in TaskStatus if status.terminal}
        return [event for event in self._events if event["subject"] == task_id and event["type"] in ends]

    def charged(self) -> tuple[int, int]:
        """Return what the budgets say was used, and what tasks and direct runs cost or still hold."""
        used = sum(each.get("usedCents") for each in self.database.collection("budgets").stream())
        tasks = [each.to_dict() or {} for each in self.database.collection("tasks").stream()]
        runs = [each.to_dict() or {} for each in self.database.collection("runs").stream()]
        accounted = sum(_charge(each, done=each["status"] != "accepted") for each in tasks if each["budgetId"])
        accounted += sum(_charge(each, done=each["state"] == "finished") for each in runs if each.get("budgetId"))
        return used, accounted

    def run_state(self, task_id: str) -> str | None:
        """Return the stored state of a task's run, None if there is no run."""
        state: str | None = (self.database.collection("runs").document(task_id).get().to_dict() or {}).get("state")
        return state

    def leave_room_for(self, runs: int) -> Callable[[], None]:
        """Lower the day's budget so that only so many runs fit; return what lifts it again."""
        case = uuid.uuid4().hex
        self.ending(self.dispatch(case=case, mode="http"), case)  # opens the budget
        (budget,) = [each for each in self.database.collection("budgets").get() if each.get("agent") == AGENT]
        limit = budget.get("limitCents")
        budget.reference.update({"limitCents": budget.get("usedCents") + 5 * runs})

        def lift() -> None:
            budget.reference.update({"limitCents": limit})

        return lift

    def delivered_to(self, subscription: str) -> bool:
        """Return whether something was delivered there and nothing waits."""
        counts = self.stack.deliveries()[subscription]
        return counts["acked"] > 0 and counts["leased"] == 0

    def _leased(self) -> int:
        return sum(each["leased"] for each in self.stack.deliveries().values())

    def _open_tasks(self) -> bool:
        tasks = [each.to_dict() or {} for each in self.database.collection("tasks").stream()]
        runs = [each.to_dict() or {} for each in self.database.collection("runs").stream()]
        held = any(run.get("reservedCents") for run in runs)
        return held or any(task["status"] == "accepted" or task.get("dueAt") for task in tasks)


def _charge(fields: dict[str, Any], *, done: bool) -> int:
    return int(fields.get("costCents", 0) if done else fields.get("reservedCents", 0))
