"""What can happen to a task, as a caller and Pub/Sub make it happen; each is counted from its first call on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from benchmarks.recorder import Bill
from benchmarks.workbench import CALLER, ORCHESTRATOR, PUSHER, Workbench, door, settings_of

if TYPE_CHECKING:
    from agent_mesh import Run

BATCH: Final = 500
_PRICE: Final = 5
_PAYLOAD: Final[dict[str, JsonValue]] = {"text": "The quick brown fox jumps over the lazy dog."}
_keys = itertools.count()


@dataclass(frozen=True)
class Measured:
    """What one scenario was billed, and for how many tasks."""

    name: str
    what: str
    bill: Bill
    tasks: int = 1


class Mesh:
    """The two functions of a workbench, as a caller sees them."""

    def __init__(self, bench: Workbench) -> None:
        """Take functions that are wired already."""
        self.bench = bench
        self._orchestrator = bench.endpoints["orchestrator"]

    def dispatch(self, *, expect: int, **changes: JsonValue) -> str:
        """Dispatch one task; return its id, also that of a rejected one."""
        answer = self._call("/dispatch", self.request(**changes), expect)
        return str(answer["taskId"])

    def dispatch_batch(self, count: int) -> None:
        """Dispatch tasks in one call."""
        answer = self._call("/dispatch/batch", {"tasks": [self.request(mode="pubsub") for _ in range(count)]}, 200)
        assert answer["accepted"] == count, answer

    def cancel(self, task_id: str) -> None:
        """Cancel a task."""
        self._call(f"/task/{task_id}/cancel", None, 200)

    def sweep(self) -> dict[str, JsonValue]:
        """Sweep once."""
        return self._call("/sweep", {}, 200)

    def deliver(self) -> None:
        """Deliver tasks to the agent and its results to the orchestrator, until nothing waits."""
        while True:
            statuses = self.bench.deliver("tasks", "light", "/pubsub/push")
            statuses += self.bench.deliver("results", "orchestrator", "/pubsub/results")
            if not statuses:
                return

    def request(self, **changes: JsonValue) -> dict[str, JsonValue]:
        """Return a request for one task, with `changes`."""
        ttl = self.bench.clock.now() + 600
        return {"agent": "light", "payload": _PAYLOAD, "ttl": ttl, "budgetCents": _PRICE, **changes}

    def _call(self, path: str, body: JsonValue, expect: int) -> dict[str, JsonValue]:
        response = self._orchestrator.post(path, b"" if body is None else json.dumps(body).encode(), CALLER)
        assert response.status_code == expect, (path, response.status_code, response.data)
        answer: dict[str, JsonValue] = json.loads(response.data)
        return answer


@contextmanager
def open_mesh(bench: Workbench) -> Iterator[Mesh]:
    """Wire the orchestrator and an agent; run one task so that the day's budget is open and the switches are cached."""
    from agent_mesh.dispatch.routes import orchestrator_app

    with door(bench, "light") as url:
        agents = {"light": {"url": url, "audience": url, "maxCostCents": _PRICE}}
        # Cached for the whole run: what the cache costs in time is a line of its own in docs/cost.md.
        shared = {
            "MESH_CONTROL_STALENESS_SECONDS": "86400",
            "MESH_POLICY_STALENESS_SECONDS": "86400",
            "AGENT_BUDGET_CENTS": "1000000000",
        }
        settings = settings_of(
            bench.issuer,
            shared
            | {
                "OIDC_AUDIENCE": "https://orchestrator",
                "MESH_CALLERS": CALLER,
                "MESH_OPERATORS": CALLER,
                "MESH_RESULT_PUSHERS": PUSHER,
                "MESH_AGENTS": agents,
            },
        )
        app = orchestrator_app(bench.parts("orchestrator", settings))
        bench.serve("orchestrator", "https://orchestrator", app.serve)
        _wire_agent(bench, url, shared)
        mesh = Mesh(bench)
        mesh.dispatch(expect=202, mode="pubsub")
        mesh.deliver()
        yield mesh


def _wire_agent(bench: Workbench, url: str, shared: dict[str, str]) -> None:
    from agent_mesh import Agent, RetryableError

    settings = settings_of(
        bench.issuer,
        shared
        | {
            "OIDC_AUDIENCE": url,
            "MESH_RUNNERS": ORCHESTRATOR,
            "MESH_TRUSTED_RUNNERS": ORCHESTRATOR,
            "MESH_TASK_PUSHERS": PUSHER,
        },
    )
    agent = Agent("light", price_cents=_PRICE, parts=bench.parts("light", settings))

    def handle(payload: dict[str, JsonValue], run: Run) -> dict[str, JsonValue]:
        if payload.get("fail") and run.attempt == 1:
            detail = "not this time"
            raise RetryableError(detail)
        if payload.get("cheap"):
            run.charge(1)
        return payload

    handle.__annotations__.pop("run")  # the name is imported lazily, and the SDK reads the payload's annotation only
    agent.handler(handle)
    bench.serve("light", url, agent.serve)


def measure_all(bench: Workbench) -> list[Measured]:
    """Run every scenario, one after the other."""
    with open_mesh(bench) as mesh:
        return [
            _measured(mesh, "pubsub", "Pub/Sub, happy path", lambda: _happy(mesh, {})),
            _measured(
                mesh, "pubsub_refund", "Pub/Sub, charged less than the maximum", lambda: _happy(mesh, {"cheap": True})
            ),
            _measured(mesh, "http", "HTTP, happy path", lambda: _http(mesh)),
            _measured(mesh, "duplicate", "the same key a second time (alone)", _duplicate(mesh)),
            _measured(mesh, "rejected", "refused: the run may cost more than the budget", lambda: _rejected(mesh)),
            _measured(mesh, "cancelled", "scheduled, then cancelled before it started", lambda: _cancelled(mesh)),
            _measured(mesh, "batch", f"a batch of {BATCH}, per task", lambda: _batch(mesh), BATCH),
            _measured(mesh, "delayed", "scheduled, published by the sweep", lambda: _delayed(mesh)),
            _measured(
                mesh, "retried", "the first attempt failed, the second succeeded", lambda: _happy(mesh, {"fail": True})
            ),
            _measured(mesh, "idle_sweep", "a sweep that finds nothing (no task)", lambda: _idle(mesh)),
        ]


def _measured(mesh: Mesh, name: str, what: str, run: Callable[[], object], tasks: int = 1) -> Measured:
    mesh.bench.drop("events", "results", "tasks", "tasks-dead")
    before = mesh.bench.recorder.bill
    run()
    return Measured(name, what, mesh.bench.recorder.since(before), tasks)


def _happy(mesh: Mesh, more: dict[str, JsonValue]) -> None:
    mesh.dispatch(expect=202, mode="pubsub", payload=_PAYLOAD | more)
    mesh.deliver()


def _http(mesh: Mesh) -> None:
    mesh.dispatch(expect=200, mode="http")
    mesh.deliver()


def _duplicate(mesh: Mesh) -> Callable[[], object]:
    key = f"key-{next(_keys)}"
    mesh.dispatch(expect=202, mode="pubsub", idempotencyKey=key)
    mesh.deliver()
    return lambda: mesh.dispatch(expect=200, mode="pubsub", idempotencyKey=key)


def _rejected(mesh: Mesh) -> None:
    mesh.dispatch(expect=402, mode="pubsub", budgetCents=_PRICE - 1)


def _cancelled(mesh: Mesh) -> None:
    later = mesh.bench.clock.now() + 300
    mesh.cancel(mesh.dispatch(expect=202, mode="pubsub", notBefore=later))
    mesh.deliver()


def _batch(mesh: Mesh) -> None:
    mesh.dispatch_batch(BATCH)
    mesh.deliver()


def _delayed(mesh: Mesh) -> None:
    mesh.dispatch(expect=202, mode="pubsub", notBefore=mesh.bench.clock.now() + 30)
    mesh.bench.clock.pass_by(31)
    mesh.sweep()
    mesh.deliver()


def _idle(mesh: Mesh) -> None:
    report = mesh.sweep()
    assert not any(value for name, value in report.items() if name != "more"), report
