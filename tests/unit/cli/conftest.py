from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_mesh.cli._app import app
from agent_mesh.contracts.tasks import TaskPage
from agent_mesh.version import VERSION
from tests.unit.cli.stub_audit import StubAudit
from tests.unit.client.stub_google import OPERATOR, stand_in_for_google
from tests.unit.client.stub_mesh import Answer, StubMesh


class Outcome:
    """What a run of the command left: exit code, stdout and stderr apart."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


Run = Callable[..., Outcome]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubMesh]:
    """A mesh whose stack.json stands in the current folder."""
    addressing = ("AGENT_MESH_ENV", "AGENT_MESH_URL", "AGENT_MESH_AUDIENCE", "AGENT_MESH_AS")
    for name in (*addressing, "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    with StubMesh() as stub:
        stub.write_stack(tmp_path)
        yield stub


@pytest.fixture
def run() -> Run:
    """Run the command as a shell would, without a terminal."""

    def run(*words: str, stdin: str | None = None) -> Outcome:
        result = CliRunner().invoke(app, words, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def mesh(stub: StubMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubMesh:
    """A deployed mesh, and a Google that lets this machine act as its operator."""
    (tmp_path / ".mesh" / "stack.json").unlink()
    stand_in_for_google(stub, tmp_path, monkeypatch)
    stub.rules["GET /health"] = Answer({"status": "ok", "role": "orchestrator", "version": VERSION})
    stub.rules["GET /tasks"] = Answer(TaskPage(tasks=[]))
    return stub


@pytest.fixture
def prod(mesh: StubMesh, run: Run) -> StubMesh:
    """The same, stored as `prod`."""
    assert run("login", "--env", "prod", "--url", mesh.url, "--as", OPERATOR, "--no-check").code == 0
    return mesh


@pytest.fixture
def audit(stub: StubMesh, tmp_path: Path) -> Iterator[StubAudit]:
    """A ledger of ten entries, of a stack in the current folder."""
    serving = StubAudit()
    serving.append(10)
    with serving.server:
        functions = {
            "orchestrator": {"url": stub.url, "audience": "orchestrator-audience"},
            "audit": {"url": serving.server.url, "audience": "audit-audience"},
        }
        stub.write_stack(tmp_path, functions=functions)
        yield serving
