"""Where the rest goes: each function call of a task, split into waiting for Google and everything else.

All in one process and one thread: a call's time is its wall time, of which the interceptors know what was spent waiting
for Firestore and Pub/Sub. What is left is our code, the client libraries and Flask; the floor's share of it is the last
two alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from statistics import median
from types import ModuleType
from typing import Any, Final

import flask
from rich.console import Console
from rich.table import Table

from benchmarks.scenarios import Mesh, open_mesh
from benchmarks.workbench import CALLER, PROJECT, PUSHER, Endpoint, Workbench, workbench
from emulator.delivery.envelope import push_envelope
from emulator.delivery.messages import Message
from emulator.stack import ROOT

STAGES: Final = ("POST /dispatch", "POST /pubsub/push", "POST /pubsub/results")
_WARM_UP: Final = 30


@dataclass(frozen=True)
class Taken:
    """One call, in milliseconds: in Google's hands, on our side of the wire, and the thread's CPU."""

    google_ms: float
    rest_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Stage:
    """A stage's medians for both variants."""

    name: str
    ours: Taken
    floor: Taken
    calls: int


@dataclass(frozen=True)
class _Side:
    """One variant's functions, and where its messages wait."""

    orchestrator: Endpoint
    agent: Endpoint
    tasks: str
    results: str


def measure(calls: int) -> list[Stage]:
    """Run tasks of both variants in turn and return each stage's medians."""
    with workbench() as bench, open_mesh(bench) as mesh:
        sides = {
            "ours": _Side(bench.endpoints["orchestrator"], bench.endpoints["light"], "tasks", "results"),
            "floor": _floor(bench),
        }
        taken: dict[str, list[list[Taken]]] = {name: [[] for _ in STAGES] for name in sides}
        for number in range(_WARM_UP + calls):
            for name in sorted(sides, reverse=number % 2 == 0):
                for stage, one in zip(taken[name], _task(mesh, bench, sides[name]), strict=True):
                    if number >= _WARM_UP:
                        stage.append(one)
        return [
            Stage(name, _median(taken["ours"][place]), _median(taken["floor"][place]), calls)
            for place, name in enumerate(STAGES)
        ]


def show(stages: list[Stage]) -> None:
    """Print the table."""
    table = Table(title="One call, one thread: median milliseconds waiting for Google, the rest, and CPU")
    for column in ("", "ours: Google", "rest", "CPU", "floor: Google", "rest", "CPU", "CPU ratio"):
        table.add_column(column, justify="right" if column else "left")
    for each in stages:
        values = (*astuple(each.ours), *astuple(each.floor), each.ours.cpu_ms / each.floor.cpu_ms)
        table.add_row(each.name, *(f"{value:.2f}" for value in values))
    Console().print(table)


def as_json(stages: list[Stage]) -> list[dict[str, object]]:
    """Return the same for machines."""
    return [
        {
            "stage": each.name,
            "calls": each.calls,
            "ours": asdict(each.ours),
            "floor": asdict(each.floor),
        }
        for each in stages
    ]


def _task(mesh: Mesh, bench: Workbench, side: _Side) -> list[Taken]:
    body = json.dumps(mesh.request(mode="pubsub")).encode()
    dispatched = _timed(bench, lambda: side.orchestrator.post("/dispatch", body, CALLER))
    pushed = _delivered(bench, side.tasks, side.agent, "/pubsub/push")
    settled = _delivered(bench, side.results, side.orchestrator, "/pubsub/results")
    return [dispatched, pushed, settled]


def _delivered(bench: Workbench, topic: str, endpoint: Endpoint, path: str) -> Taken:
    (message,) = bench.take(topic)
    wrapped = Message(message.message_id, message.data, "2026-11-20T12:00:00Z", dict(message.attributes))
    body = push_envelope(wrapped, f"projects/{PROJECT}/subscriptions/{topic}", 1)
    return _timed(bench, lambda: endpoint.post(path, body, PUSHER))


def _timed(bench: Workbench, call: Callable[[], flask.Response]) -> Taken:
    waited, started, cpu = bench.recorder.waited_s, time.perf_counter(), time.thread_time()
    response = call()
    taken, cpu = time.perf_counter() - started, time.thread_time() - cpu
    assert response.status_code < 300, response.data  # noqa: PLR2004
    google = bench.recorder.waited_s - waited
    return Taken(google * 1000, (taken - google) * 1000, cpu * 1000)


def _median(taken: list[Taken]) -> Taken:
    return Taken(
        median(one.google_ms for one in taken),
        median(one.rest_ms for one in taken),
        median(one.cpu_ms for one in taken),
    )


def _floor(bench: Workbench) -> _Side:
    """Load the floor's functions into this process, on counted clients."""
    os.environ["MESH_AGENTS"] = json.dumps({"floor": {"url": "http://127.0.0.1:9"}})
    bench.add_topics("floor-tasks", "floor-results", "floor-events")
    modules = {name: _load(name, bench) for name in ("orchestrator", "agent")}
    budgets = modules["orchestrator"]._database.collection("floor-budgets")  # noqa: SLF001
    budgets.document("floor.20261120").set({"usedCents": 0, "limitCents": 10**9})
    ends = {name: bench.serve(f"floor_{name}", "floor", _server(module, name)) for name, module in modules.items()}
    return _Side(ends["orchestrator"], ends["agent"], "floor-tasks", "floor-results")


def _load(name: str, bench: Workbench) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"floor_{name}", ROOT / "benchmarks" / "floor" / name / "main.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    counted: dict[str, Any] = {"_database": bench.firestore(), "_publisher": bench.publisher}
    vars(module).update(counted)
    return module


def _server(module: ModuleType, name: str) -> Callable[[flask.Request], flask.Response]:
    app = flask.Flask(f"floor_{name}")

    def serve(request: flask.Request) -> flask.Response:
        with app.request_context(request.environ):
            return app.make_response(getattr(module, f"floor_{name}")(flask.request))

    return serve
