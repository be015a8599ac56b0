import importlib.util
import os
import subprocess
import sys
import threading
import venv
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from infra import bootstrap

PYPROJECT = """
[build-system]
requires = ["setuptools"]
[project]
name = "echo"
[tool.setuptools]
package-dir = { "" = "shared" }
[tool.ruff]
line-length = 100
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository whose `.venv` is built and stamped."""
    for name in bootstrap.INPUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    environment = tmp_path / ".venv"
    venv.create(environment, with_pip=False)
    (environment / bootstrap.STAMP).write_text(bootstrap.fingerprint(tmp_path, environment))
    return tmp_path


def is_current(root: Path) -> bool:
    return bootstrap.is_current(root, root / ".venv")


def test_a_stamped_environment_is_current(tree: Path) -> None:
    assert is_current(tree)


@pytest.mark.parametrize("name", bootstrap.INPUTS)
def test_a_changed_input_builds_again(tree: Path, name: str) -> None:
    (tree / name).write_text("changed")
    assert not is_current(tree)


def test_a_changed_dependency_builds_again_and_a_changed_lint_rule_does_not(tree: Path) -> None:
    (tree / "pyproject.toml").write_text(PYPROJECT.replace("line-length = 100", "line-length = 120"))
    assert is_current(tree)
    (tree / "pyproject.toml").write_text(PYPROJECT.replace('["setuptools"]', '["setuptools", "wheel"]'))
    assert not is_current(tree)


def test_an_environment_that_was_moved_or_lost_its_python_builds_again(tree: Path, tmp_path: Path) -> None:
    moved = (tree / ".venv").rename(tree / "elsewhere")
    assert not bootstrap.is_current(tree, moved)
    assert not bootstrap.works(moved)
    moved.rename(tree / ".venv")
    bootstrap.interpreter(tree / ".venv").unlink()
    assert not is_current(tree)
    assert not bootstrap.works(tree / ".venv")


def test_an_environment_made_by_hand_is_completed_and_an_interrupted_build_starts_again(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(bootstrap, "run", lambda *command: commands.append(command))
    bootstrap.build(tree, tree / ".venv")
    assert [command for command in commands if "venv" in command] == []
    assert is_current(tree)

    (tree / ".venv" / bootstrap.MARKER).touch()
    bootstrap.build(tree, tree / ".venv")
    assert [command[-2:] for command in commands if "venv" in command] == [("--clear", str(tree / ".venv"))]
    assert not (tree / ".venv" / bootstrap.MARKER).exists()


def test_a_build_that_fails_leaves_no_stamp(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: str) -> None:
        raise SystemExit(1)

    monkeypatch.setattr(bootstrap, "run", fail)
    with pytest.raises(SystemExit):
        bootstrap.build(tree, tree / ".venv")
    assert not is_current(tree)
    assert (tree / ".venv" / bootstrap.MARKER).exists()


def test_a_python_without_ensurepip_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without_ensurepip(name: str) -> ModuleSpec | None:
        return None if name == "ensurepip" else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", without_ensurepip)
    with pytest.raises(SystemExit, match=r"has no ensurepip.*apt-get install python3\.\d+-venv"):
        bootstrap.create(tmp_path / ".venv")


def test_a_second_start_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []
    lock = tmp_path / ".cache" / "lock"

    def second() -> None:
        with bootstrap.only_one(lock):
            order.append("second")

    with bootstrap.only_one(lock):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.1)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_an_old_python_is_told_the_version_it_needs() -> None:
    noxfile = Path(__file__).resolve().parents[3] / "noxfile.py"
    pretend = (
        f"import sys; sys.version_info = (3, 10); exec(compile(open({str(noxfile)!r}).read(), 'noxfile.py', 'exec'))"
    )
    old = subprocess.run(
        [sys.executable, "-c", pretend], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert old.returncode == 1
    assert old.stderr.startswith("Agent Mesh needs Python 3.11 or newer")
