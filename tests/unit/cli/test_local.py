from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent_mesh.contracts.problems import Unauthenticated
from agent_mesh.contracts.tasks import TaskPage
from tests.unit.cli.conftest import Run
from tests.unit.client.stub_mesh import DEVELOPER, Answer, StubMesh, a_task, refusal


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return read


def test_token_prints_the_token_alone(stub: StubMesh, run: Run) -> None:
    done = run("token", "orchestrator")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    read = claims(done.out.strip())
    assert (read["aud"], read["email"]) == ("orchestrator-audience", DEVELOPER)


def test_token_may_be_of_anybody(stub: StubMesh, run: Run) -> None:
    done = run("token", "orchestrator", "--as", "stranger@local.test", "--json")
    assert claims(json.loads(done.out)["token"])["email"] == "stranger@local.test"


def test_a_role_that_does_not_run_is_told_with_those_that_do(stub: StubMesh, run: Run) -> None:
    done = run("token", "relay")
    assert done.code == 3
    assert "it runs orchestrator" in done.err


def test_no_stack_is_exit_code_3_and_says_how_to_start_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENT_MESH_URL", raising=False)
    done = run("tasks")
    assert done.code == 3
    assert "python3 noxfile.py -s up" in done.err
    assert json.loads(run("tasks", "--json").err)["code"] == "stack_not_found"


def test_a_mesh_that_is_gone_is_exit_code_3(stub: StubMesh, run: Run, tmp_path: Path) -> None:
    gone = {"orchestrator": {"url": "http://127.0.0.1:9", "audience": "a"}}
    stub.write_stack(tmp_path, functions=gone)
    done = run("task", "task_1")
    assert done.code == 3
    assert "Connection refused" in done.err
    assert "agent-mesh doctor" in done.err


def test_url_and_audience_lead_to_another_mesh(stub: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    done = run("task", "task_1", "--url", stub.url, "--audience", "x", "--json")
    assert done.code == 3
    assert json.loads(done.err)["code"] == "token_unavailable"


def test_doctor_finds_a_healthy_mesh(stub: StubMesh, run: Run, tmp_path: Path) -> None:
    stub.write_stack(tmp_path, pid=os.getpid())
    stub.rules["GET /tasks"] = Answer(TaskPage(tasks=[a_task()]))
    done = run("doctor", "--json")
    diagnosis = json.loads(done.out)
    assert [check["name"] for check in diagnosis["checks"] if not check["ok"]] == []
    assert {check["name"] for check in diagnosis["checks"]} == {
        "python",
        "stack",
        "process",
        "issuer",
        "firestore",
        "orchestrator",
        "clock",
        "token",
    }
    assert (done.code, diagnosis["ok"]) == (0, True)
    assert "All is well." in run("doctor").err


def failed(outcome_out: str) -> list[str]:
    return [check["name"] for check in json.loads(outcome_out)["checks"] if not check["ok"]]


def test_doctor_names_each_part_that_is_missing(stub: StubMesh, run: Run, tmp_path: Path) -> None:
    stub.write_stack(tmp_path, pid=2**22 + 1, emulators={"firestore": "127.0.0.1:9", "pubsub": "nonsense"})
    stub.rules["GET /tasks"] = refusal(Unauthenticated("no"))
    stub.rules["GET /oauth2/v1/certs"] = Answer("", 500)
    done = run("doctor", "--json")
    assert done.code == 1
    assert failed(done.out) == ["process", "issuer", "firestore", "pubsub", "token"]


@pytest.mark.parametrize("date", ["Fri, 20 Nov 2020 09:00:00 GMT", "Tue, 20 Nov 2040 09:00:00 GMT"])
def test_doctor_sees_a_clock_that_is_wrong(date: str, stub: StubMesh, run: Run) -> None:
    stub.rules["GET /tasks"] = Answer(TaskPage(tasks=[]))
    stub.rules["GET /health"] = Answer({}, headers={"Date": date})
    assert "clock" in failed(run("doctor", "--json").out)


def test_doctor_without_a_stack_says_how_to_start_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("doctor")
    assert done.code == 1
    assert "python3 noxfile.py -s up" in done.out
