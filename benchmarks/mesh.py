"""The stack that the benchmarks measure on: our functions and the floor's side by side, everything else shared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from emulator.stack import ROOT, LocalStack, StackOptions

_ORCHESTRATOR_THREADS: Final = 64
_AGENT_THREADS: Final = 32


@dataclass(frozen=True)
class Variant:
    """One of the two that are compared: its entry, its agent, and where it keeps and tells things."""

    name: str
    role: str
    agent: str
    agent_role: str
    tasks: str
    runs: str
    events_topic: str


OURS: Final = Variant("ours", "orchestrator", "noop", "noop", "tasks", "runs", "events")
FLOOR: Final = Variant(
    "floor", "floor_orchestrator", "floor", "floor_agent", "floor-tasks", "floor-runs", "floor-events"
)
VARIANTS: Final = (OURS, FLOOR)


@contextmanager
def benchmark_stack() -> Iterator[LocalStack]:
    """Run both variants on one Firestore and one Pub/Sub, in a folder that goes away."""
    with TemporaryDirectory(prefix="mesh-bench-") as folder:
        roles = Path(folder) / "roles.json"
        roles.write_text(json.dumps(_topology()))
        with LocalStack(StackOptions(state_dir=Path(folder) / "state", roles_file=roles)) as stack:
            yield stack


def _topology() -> dict[str, object]:
    given = json.loads((ROOT / "infra" / "roles.json").read_text())
    deadlines = {name: given["subscriptions"][name]["ackDeadlineSeconds"] for name in ("tasks-light", "results")}
    return {
        "roles": {
            "orchestrator": _role("functions/orchestrator", "orchestrator", _ORCHESTRATOR_THREADS)
            | {"allow": {"MESH_CALLERS": ["developer"], "MESH_RESULT_PUSHERS": ["subscription:results"]}},
            "noop": _role("benchmarks/noop", "noop", _AGENT_THREADS)
            | {
                "allow": {
                    "MESH_RUNNERS": ["role:orchestrator"],
                    "MESH_TRUSTED_RUNNERS": ["role:orchestrator"],
                    "MESH_TASK_PUSHERS": ["subscription:tasks-noop"],
                },
            },
            "floor_orchestrator": _role("benchmarks/floor/orchestrator", "floor_orchestrator", _ORCHESTRATOR_THREADS),
            "floor_agent": _role("benchmarks/floor/agent", "floor_agent", _AGENT_THREADS),
        },
        "agents": {"noop": {"role": "noop", "maxCostCents": 1}, "floor": {"role": "floor_agent", "maxCostCents": 1}},
        "topics": ["tasks", "results", "events", "floor-tasks", "floor-results", "floor-events"],
        "subscriptions": {
            "tasks-noop": _subscription("tasks", "noop", "/pubsub/push", deadlines["tasks-light"], agent="noop"),
            "results": _subscription("results", "orchestrator", "/pubsub/results", deadlines["results"]),
            "floor-tasks": _subscription(
                "floor-tasks", "floor_agent", "/pubsub/push", deadlines["tasks-light"], agent="floor"
            ),
            "floor-results": _subscription(
                "floor-results", "floor_orchestrator", "/pubsub/results", deadlines["results"]
            ),
        },
    }


def _role(source: str, entry_point: str, threads: int) -> dict[str, object]:
    """`concurrency` becomes THREADS: the same for ours and the floor. A budget that no run here uses up."""
    return {
        "source": source,
        "entryPoint": entry_point,
        "concurrency": threads,
        "environment": {"AGENT_BUDGET_CENTS": "100000000"},
    }


def _subscription(topic: str, role: str, path: str, deadline: int, agent: str = "") -> dict[str, object]:
    return {
        "topic": topic,
        "filter": f'attributes.agent = "{agent}"' if agent else "",
        "push": {"role": role, "path": path},
        "ackDeadlineSeconds": deadline,
        "retry": {"minimumBackoffSeconds": 1, "maximumBackoffSeconds": 60},
        "ordering": False,
    }
