import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra import boot

ENVIRONMENT = Path(sys.prefix)  # it holds functions-framework, as a role's own does
HEALTHY = """
import functions_framework

@functions_framework.http
def echo(request):
    return "ok", 200 if request.path == "/healthz" else 404
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a role's zip was unpacked."""
    unpacked = tmp_path / "echo"
    unpacked.mkdir()
    return unpacked


def test_a_function_that_answers_is_proven_and_stopped(folder: Path) -> None:
    (folder / "main.py").write_text(HEALTHY)
    assert 0 < boot.seconds_to_healthy(folder, "echo", ENVIRONMENT) < boot.START_SECONDS


def test_a_function_that_cannot_be_imported_is_refused_with_what_it_said(folder: Path) -> None:
    (folder / "main.py").write_text("import a_module_its_requirements_forgot\n")
    with pytest.raises(RuntimeError, match=r"(?s)echo does not answer.*a_module_its_requirements_forgot"):
        boot.seconds_to_healthy(folder, "echo", ENVIRONMENT)


def test_a_function_that_answers_something_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "START_SECONDS", 2.0)
    (folder / "main.py").write_text(HEALTHY.replace("/healthz", "/elsewhere"))
    with pytest.raises(RuntimeError, match="echo does not answer /healthz with 200"):
        boot.seconds_to_healthy(folder, "echo", ENVIRONMENT)


def test_a_server_that_does_not_listen_to_its_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "STOP_SECONDS", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"deaf\n"
        boot.stop(server)
    assert server.returncode == -signal.SIGKILL
