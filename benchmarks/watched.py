"""What it costs that tasks are kept in the ledger and can be watched: the books of a whole local stack.

Here nothing is counted call by call, for requests share commits: tasks go through all functions, and the servers' books
say what their traces came to. `benchmarks.cost` puts it into docs/cost.md.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3

from agent_mesh.client import AuditClient, MeshClient, dispatch_request
from agent_mesh.contracts.tasks import Task
from emulator.stack import LocalStack, StackOptions
from emulator.topology import load_topology

KINDS: Final = {
    "reads": "document reads",
    "writes": "document writes",
    "refusedWrites": "refused writes",
    "publishes": "publish calls",
    "publishedMessages": "messages",
    "deliveredMessages": "push deliveries",
}
MANY: Final = 200
LONELY: Final = 10

_ENDED: Final = "mesh.task.succeeded"
_STEADY: Final = {"MESH_CONTROL_STALENESS_SECONDS": "86400", "MESH_POLICY_STALENESS_SECONDS": "86400"}
"""What is read once in a while is told apart in docs/cost.md."""

_PRICE_CENTS: Final = 5
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.3
_CALM_LOOKS: Final = 6


@dataclass(frozen=True)
class Watched:
    """What so many tasks came to, by the servers' books; `micro_usd` is Firestore and Pub/Sub at list prices."""

    what: str
    tasks: int
    counts: dict[str, int]
    micro_usd: float

    @property
    def row(self) -> list[str]:
        """Each count and the dollars of a million tasks, per task."""
        counts = [f"{self.counts[kind] / self.tasks:.2f}".rstrip("0").rstrip(".") for kind in KINDS]
        return [self.what, *counts, f"{self.micro_usd / self.tasks:.2f}"]


def measure() -> list[Watched]:
    """Send tasks over Pub/Sub through all functions: one after the other, then many at once."""
    with tempfile.TemporaryDirectory(prefix="agent-mesh-") as place, _whole_mesh(Path(place)) as mesh:
        mesh.send(1)
        lonely = [task for _ in range(LONELY) for task in mesh.send(1)]
        return [
            mesh.counted("one task after the other", lonely),
            mesh.counted(f"{MANY} tasks in one batch", mesh.send(MANY)),
        ]


class _WholeMesh:
    """A stack with every role."""

    def __init__(self, stack: LocalStack, mesh: MeshClient, audit: AuditClient) -> None:
        self._books = f"{stack.console_url}/_local/usage"
        self._mesh = mesh
        self._audit = audit

    def send(self, count: int) -> list[Task]:
        """Dispatch tasks in one call, and return when all has come of them that comes."""
        request = dispatch_request("light", {"text": "hello"}, budget_cents=_PRICE_CENTS, mode="pubsub")
        tasks = [answer.task for answer in self._mesh.dispatch_batch([request] * count).results if answer.task]
        self._wait_for_calm(tasks)
        kept = self._audit.records(tasks[-1].task_id).records
        if not any(record.event == _ENDED for record in kept):
            raise RuntimeError(f"the ledger does not have the end of {tasks[-1].task_id}")
        return tasks

    def counted(self, what: str, tasks: list[Task]) -> Watched:
        """Return what the traces of these tasks came to."""
        lines = list(self._lines(tasks))
        counts = {kind: sum(int(line.get(kind, 0)) for line in lines) for kind in KINDS}
        return Watched(what, len(tasks), counts, sum(float(line["costMicroUsd"]) for line in lines))

    def _wait_for_calm(self, tasks: list[Task]) -> None:
        """Wait until the traces have not changed for a while."""
        looks: Counter[str] = Counter()
        until = time.monotonic() + _PATIENCE_S
        while looks.total() == 0 or max(looks.values()) < _CALM_LOOKS:
            if time.monotonic() > until:
                raise TimeoutError(f"there was no calm within {_PATIENCE_S:.0f} s")
            time.sleep(_LOOK_S)
            look = repr([sorted(line.items()) for line in self._lines(tasks)])
            looks = Counter({look: looks[look] + 1})

    def _lines(self, tasks: list[Task]) -> Iterator[dict[str, Any]]:
        for trace in sorted({task.trace_id for task in tasks}):
            yield from urllib3.request("GET", f"{self._books}?trace={trace}").json()["traces"]["shown"]


@contextmanager
def _whole_mesh(place: Path) -> Iterator[_WholeMesh]:
    environment = dict.fromkeys(load_topology(StackOptions().roles_file).roles, _STEADY)
    options = StackOptions(state_dir=place / ".mesh", cloud="embedded", environment=environment)
    file = place / ".mesh" / "stack.json"
    with LocalStack(options) as stack, MeshClient.from_stack(file) as mesh, AuditClient.from_stack(file) as audit:
        yield _WholeMesh(stack, mesh, audit)
