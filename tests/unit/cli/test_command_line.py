from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_mesh.cli._text import between, duration, printable, relative
from agent_mesh.version import VERSION
from tests.unit.cli.conftest import Run
from tests.unit.client.stub_mesh import Answer, StubMesh, a_task, unsigned_token

SHARED = Path(__file__).parents[3] / "shared"
MAIN = "from agent_mesh.cli import main; main()"


def shell(
    *words: str, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(SHARED), **(environment or {})},
    )


def test_version(run: Run) -> None:
    assert run("--version").out == f"agent-mesh {VERSION}\n"


def test_wrong_usage_is_exit_code_2() -> None:
    done = shell("tasks", "--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


def test_wrong_usage_with_json_is_a_problem_on_stderr() -> None:
    done = shell("tasks", "--limit", "many", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["code"] == "wrong_usage"


def test_the_exit_code_is_the_same_with_json(tmp_path: Path) -> None:
    done = shell("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False


def test_help_imports_nothing_heavy() -> None:
    heavy = (
        "google.auth",
        "google.cloud.firestore",
        "google.pubsub",
        "grpc",
        "flask",
        "requests",
        "rich.live",
        "urllib3",
    )
    code = f"import sys, agent_mesh.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SHARED)},
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "cancel", "dead", "dispatch", "doctor", "explain", "login", "pause", "replay", "replay-dead", "resume", "sweep",
        "tail", "task", "tasks", "token",
    ],
)  # fmt: skip
def test_every_command_has_the_common_options(command: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    text = run(command, "--help").out
    for option in ("--json", "--env", "--url", "--audience", "--as"):
        assert option in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0084, "8 ms"), (1.25, "1.25 s"), (12.3, "12 s"), (90, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_durations_are_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_moments_are_told_from_now() -> None:
    now = datetime(2026, 11, 20, 9, 0, 10, tzinfo=UTC)
    assert relative("2026-11-20T09:00:00Z", now) == "10 s ago"
    assert relative("2026-11-20T09:00:15Z", now) == "in 5.00 s"
    assert relative("soon", now) == "soon"


def test_a_task_that_runs_has_no_latency() -> None:
    assert between("2026-11-20T09:00:00Z", None) == "-"


def test_control_characters_are_shown_as_what_they_are_not() -> None:
    assert printable("a\x1b[31m\x07b\nc\td") == "a�[31m�b\nc\td"


def test_another_mesh_gets_googles_token_for_its_audience() -> None:
    account = "/computeMetadata/v1/instance/service-accounts/default/"
    with StubMesh() as mesh:
        flavor = {"Metadata-Flavor": "Google"}
        text_type = {**flavor, "Content-Type": "text/html"}
        json_type = {**flavor, "Content-Type": "application/json"}
        mesh.rules["GET /"] = Answer("", headers=flavor)
        mesh.rules[f"GET {account}"] = Answer({"email": "me@project.iam", "aliases": []}, headers=json_type)
        mesh.rules[f"GET {account}identity"] = lambda asked: Answer(
            unsigned_token(asked.query["audience"][0], "me@project.iam"), headers=text_type
        )
        mesh.rules["GET /task/task_1"] = Answer(a_task())
        host = mesh.url.removeprefix("http://")
        metadata = {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}
        address = {"AGENT_MESH_URL": mesh.url, "AGENT_MESH_AUDIENCE": "the-audience"}
        done = shell("task", "task_1", "--json", environment={**metadata, **address})
        assert done.stderr == ""
        assert json.loads(done.stdout)["taskId"] == "task_1"
        minted = mesh.asked[-1].headers["authorization"].removeprefix("Bearer ")
        claims = json.loads(base64.urlsafe_b64decode(minted.split(".")[1] + "=="))
        assert (claims["aud"], claims["email"]) == ("the-audience", "me@project.iam")


def test_no_color_takes_the_colours_away(stub: StubMesh) -> None:
    stub.rules["GET /task/task_1"] = Answer(a_task())
    green = "\x1b[32m"
    assert green in shell("task", "task_1", environment={"FORCE_COLOR": "1"}).stdout
    assert green not in shell("task", "task_1", environment={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout
    assert "\x1b" not in shell("task", "task_1").stdout
