from __future__ import annotations

import json
import time

import pytest

from agent_mesh.contracts.problems import Conflict
from agent_mesh.contracts.tasks import AgentState, SweepReport, TaskStatus
from tests.unit.cli.conftest import Run
from tests.unit.client.stub_mesh import Answer, StubMesh, a_task, refusal


def test_cancel_of_a_running_task_says_that_it_was_asked(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /task/task_1/cancel"] = Answer(a_task(status=TaskStatus.RUNNING, cancel_requested=True))
    done = run("cancel", "task_1")
    assert done.code == 0
    assert "asked for" in done.out
    assert "asked to stop" in done.err


def test_cancel_of_a_finished_task_is_refused(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /task/task_1/cancel"] = refusal(Conflict("It has succeeded."))
    done = run("cancel", "task_1")
    assert done.code == 1
    assert "It has succeeded." in done.err


def test_replay_changes_only_what_is_given(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /task/task_1/replay"] = Answer(a_task("task_2", replay_of="task_1"))
    assert json.loads(run("replay", "task_1", "--json").out)["replayOf"] == "task_1"
    assert stub.asked[-1].body == {}
    run("replay", "task_1", "--ttl", "30", "--budget", "3", "--key", "k", "--mode", "http")
    sent = stub.asked[-1].body
    assert sent.pop("ttl") == pytest.approx(time.time() + 30, abs=5)
    assert sent == {"budgetCents": 3, "idempotencyKey": "k", "mode": "http"}


def test_a_replay_that_fails_is_exit_code_1(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /task/task_1/replay"] = Answer(a_task("task_2", TaskStatus.FAILED))
    assert run("replay", "task_1", "--mode", "http").code == 1


def test_pause_and_resume_say_what_the_agent_does_now(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /agents/light/pause"] = Answer(AgentState(agent="light", paused=True))
    stub.rules["POST /agents/light/resume"] = Answer(AgentState(agent="light", paused=False, released=3))
    assert run("pause", "light").out == "light is paused\n"
    assert run("resume", "light").out == "light works; waiting tasks sent on: 3\n"


def test_sweep_tells_what_it_did(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /sweep"] = Answer(SweepReport(holds_freed=2, more=True))
    done = run("sweep", "--wait", "5")
    assert stub.asked[-1].body == {"waitSeconds": 5}
    assert "holds freed" in done.out
    assert "expired" not in done.out
    assert "sweep again" in done.err


def test_a_sweep_with_nothing_to_do_prints_no_empty_table(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /sweep"] = Answer(SweepReport())
    done = run("sweep")
    assert (done.code, done.out) == (0, "")
    assert "Nothing was left to do." in done.err
