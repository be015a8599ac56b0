from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_mesh.cli._app import app
from tests.unit.client.stub_mesh import StubMesh


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
    for name in ("AGENT_MESH_URL", "AGENT_MESH_AUDIENCE", "AGENT_MESH_AS", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
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
