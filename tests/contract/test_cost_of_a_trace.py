"""One task over Pub/Sub on the local stack: what its trace cost by the servers' books is what docs/cost.md says."""

from __future__ import annotations

import json
import operator
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import urllib3
from google.cloud import firestore

from emulator.stack import ROOT, LocalStack, StackOptions
from tests.contract.mesh import Mesh, eventually, task_request

ROLES: Final = ("orchestrator", "agent_light")
ROW: Final = "| Pub/Sub, happy path |"
"""Over HTTP answer and result message race on a stack, so that its operations are not always the same."""

COLUMNS: Final = ("reads", "writes", "deletes", "refusedWrites", "publishes", "publishedMessages", "deliveredMessages")
"""The first of the document's table, by the names of a usage line."""


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A stack of two functions whose switches are cached for all of it, as docs/cost.md has them."""
    place = tmp_path_factory.mktemp("traced")
    environment = {role: {"MESH_CONTROL_STALENESS_SECONDS": "86400"} for role in ROLES}
    options = StackOptions(state_dir=place / ".mesh", cloud="embedded", only=ROLES, environment=environment)
    with LocalStack(options) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", running.firestore)
        mesh = Mesh(running, Path(place), firestore.Client(project=running.project))
        mesh.ended(mesh.accepted("light")["taskId"])  # opens the day's budget and reads the switches
        yield mesh
        mesh.close()


def promised() -> tuple[list[float], float]:
    """Operations of the happy path in the document's first table, and dollars for a million tasks in its second."""
    lines = [line for line in (ROOT / "docs" / "cost.md").read_text().splitlines() if line.startswith(ROW)]
    operations, dollars = ([float(cell) for cell in line.split("|")[2:-1]] for line in lines)
    regional, _, pubsub, *_ = dollars
    return operations[: len(COLUMNS)], regional + pubsub


def dispatched(mesh: Mesh, trace: str) -> None:
    body = json.dumps(task_request("light", mode="pubsub")).encode()
    answer = mesh.raw("POST", "/dispatch", body, traceparent=f"00-{trace}-{secrets.token_hex(8)}-01")
    assert answer.status == 202, answer.body
    mesh.ended(answer.json["taskId"])


def test_a_trace_costs_what_the_document_says(counted: Mesh) -> None:
    trace = secrets.token_hex(16)
    operations, dollars = promised()
    dispatched(counted, trace)
    books = f"{counted.stack.console_url}/_local/usage?trace={trace}"

    def line() -> Any:
        """As soon as the last message has been delivered and its events are published."""
        (found,) = urllib3.request("GET", books).json()["traces"]["shown"]
        counts = [found.get(column, 0) for column in COLUMNS]
        return found if all(map(operator.ge, counts, operations)) else None

    found = eventually(line)
    assert [found[column] for column in COLUMNS] == operations, found
    cost = float(found["costMicroUsd"])  # millionths of a dollar for a task are dollars for a million tasks
    others = 0.036 * found["filteredMessages"]  # of the other agent, whose subscription drops it: docs/cost.md
    assert cost == pytest.approx(dollars + others, abs=0.01)
