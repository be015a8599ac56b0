"""A run as its document has it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent_mesh.agents.records import (
    Outcome,
    Progress,
    RunRecord,
    RunState,
    outcome_fields,
    progress_fields,
    record_from,
)
from agent_mesh.budgets import Reservation
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.platform.clock import moment

NOW = 1_800_000_000.0
LEAST = {"agent": "light", "state": "running", "attempt": 1}


def test_a_document_of_an_older_version_is_read() -> None:
    run = record_from("run_1", dict(LEAST), None)
    assert run == RunRecord("run_1", "light", "", RunState.RUNNING, 1, None, None)


def test_everything_that_a_document_has_is_read() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    fields = LEAST | {
        "caller": "ann",
        "leaseUntil": at,
        "startedAt": at,
        "progress": [progress_fields(Progress(at, "half", 50.0))],
        "cancelRequested": True,
        "fingerprint": "f",
        "budgetId": "light.20260101",
        "reservedCents": 5,
        "lastFault": {"code": "c", "detail": "d", "retryable": True},
    }
    run = record_from("run_1", fields, "now")
    assert (run.caller, run.lease_until, run.started_at, run.update_time) == ("ann", at, at, "now")
    assert run.progress == (Progress(at, "half", 50.0),)
    assert run.cancel_requested
    assert run.reservation == Reservation("light.20260101", 5)
    assert run.last_fault == TaskFault(code="c", detail="d", retryable=True)
    assert run.outcome is None


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(RunStatus.SUCCEEDED, '{"b": 1, "a":1.10}', None, 5),
        Outcome.refused(RunStatus.EXPIRED, "ttl_expired", "too late"),
    ],
    ids=["success", "refusal"],
)
def test_an_outcome_comes_back_byte_for_byte(outcome: Outcome) -> None:
    run = record_from("run_1", LEAST | outcome_fields(outcome, NOW), None)
    assert (run.state, run.outcome, run.finished_at) == (RunState.FINISHED, outcome, moment(NOW))
    assert run.lease_until is None


@pytest.mark.parametrize(
    ("state", "lease_until", "alive"),
    [
        (RunState.RUNNING, NOW + 0.001, True),
        (RunState.RUNNING, NOW, False),
        (RunState.RUNNING, None, False),
        (RunState.WAITING, NOW + 1, False),
        (RunState.FINISHED, NOW + 1, False),
    ],
)
def test_a_run_is_alive_while_it_runs_and_its_lease_lasts(
    state: RunState, lease_until: float | None, alive: bool
) -> None:
    lease = None if lease_until is None else moment(lease_until)
    assert RunRecord("r", "light", "", state, 1, lease, None).alive(NOW) is alive
