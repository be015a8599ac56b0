"""A task's bill: the operations that Google charges for, counted on the real clients, stay within what was promised."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.cost import DOCUMENT, LIMITED, LIMITS
from benchmarks.import_time import ROOT


@pytest.fixture(scope="module")
def per_task() -> dict[str, dict[str, float]]:
    """Operations per task of each scenario."""
    # A process of its own: google-auth reads the metadata server's address when it is imported.
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks", "cost", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=180)
    report: dict[str, Any] = json.loads(done.stdout)
    return {name: scenario["perTask"] for name, scenario in report["cost"]["scenarios"].items()}


@pytest.mark.parametrize("scenario", LIMITED)
@pytest.mark.parametrize(("operation", "most"), LIMITS.items())
def test_the_happy_path_stays_within_its_limits(
    per_task: dict[str, dict[str, float]], scenario: str, operation: str, most: int
) -> None:
    assert per_task[scenario][operation] <= most


def test_the_limits_are_those_that_were_promised() -> None:
    assert LIMITS == {"reads": 2, "writes": 6, "publishes": 5}


def test_a_duplicate_is_neither_stored_nor_published(per_task: dict[str, dict[str, float]]) -> None:
    duplicate = per_task["duplicate"]
    assert (duplicate["writes"], duplicate["publishes"]) == (0, 0)


def test_a_refused_task_writes_one_document(per_task: dict[str, dict[str, float]]) -> None:
    assert per_task["rejected"]["writes"] == 1


def test_a_batch_shares_its_commits_and_publishes(per_task: dict[str, dict[str, float]]) -> None:
    alone, together = per_task["pubsub"], per_task["batch"]
    assert together["writes"] <= alone["writes"] - 0.9
    assert together["publishes"] <= alone["publishes"] - 1.9


def test_a_sweep_without_work_writes_nothing(per_task: dict[str, dict[str, float]]) -> None:
    idle = per_task["idle_sweep"]
    assert (idle["writes"], idle["publishes"]) == (0, 0)
    assert idle["reads"] <= 4


def test_the_document_shows_what_is_counted_today(per_task: dict[str, dict[str, float]]) -> None:
    row = next(line for line in DOCUMENT.read_text().splitlines() if line.startswith("| Pub/Sub, happy path |"))
    shown = [float(cell) for cell in row.split("|")[2:4]]
    assert shown == [per_task["pubsub"]["reads"], per_task["pubsub"]["writes"]]
