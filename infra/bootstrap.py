"""From nothing to `.venv`: the one environment all sessions share, built from the locks with every hash checked.

A stamp, written last, says what the environment was built from, so that the next start only compares it. A marker,
written first, tells an interrupted build from one made by hand: the former starts again from nothing, the latter is
completed.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

INPUTS = ("requirements/dev.txt", "infra/bootstrap.py")
STAMP = "agent-mesh.stamp"
MARKER = "agent-mesh.building"
LOCK = ".cache/bootstrap.lock"


def enter(root: Path, arguments: list[str]) -> NoReturn:
    """Become nox, in an environment that is up to date."""
    os.chdir(root)
    environment = root / ".venv"
    if not is_current(root, environment):
        with only_one(root / LOCK):
            if not is_current(root, environment):  # another start may have built it while this one waited
                build(root, environment)
    python = str(interpreter(environment))
    os.execv(python, [python, "-m", "nox", "-f", str(root / "noxfile.py"), *arguments])  # noqa: S606 - no shell


def is_current(root: Path, environment: Path) -> bool:
    try:
        return (environment / STAMP).read_text() == fingerprint(root, environment)
    except FileNotFoundError:
        return False


def fingerprint(root: Path, environment: Path) -> str:
    """What the environment depends on: the locks, the interpreter behind it, and its own place (scripts name it)."""
    seen = hashlib.sha256()
    for name in INPUTS:
        seen.update((root / name).read_bytes())
    seen.update(json.dumps(installed_settings(root)).encode())
    seen.update((environment / "pyvenv.cfg").read_bytes())
    seen.update(os.fsencode(interpreter(environment).resolve(strict=True)))
    seen.update(os.fsencode(environment))
    return seen.hexdigest()


def installed_settings(root: Path) -> list[object]:
    """The part of pyproject.toml that changes what is installed: a new lint rule builds nothing again."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return [settings["build-system"], settings["project"], settings["tool"]["setuptools"]]


def interpreter(environment: Path) -> Path:
    return environment / "bin" / "python"


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another start is building .venv: waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def build(root: Path, environment: Path) -> None:
    say("building .venv from requirements/dev.txt (about a minute, once)")
    marker = environment / MARKER
    if marker.exists() or not works(environment):
        create(environment)
    (environment / STAMP).unlink(missing_ok=True)
    marker.touch()
    python = str(interpreter(environment))
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install")
    run(*pip, "--require-hashes", "--no-deps", "--requirement", str(root / "requirements/dev.txt"))
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", str(root))
    (environment / STAMP).write_text(fingerprint(root, environment))
    marker.unlink()


def works(environment: Path) -> bool:
    """Whether its Python runs, is new enough, and was made here: a copied one would install into the original."""
    new_enough = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        probe = subprocess.run([interpreter(environment), "-c", new_enough], check=False, capture_output=True)
        made_here = str(environment).encode() in (environment / "bin" / "activate").read_bytes()
    except OSError:
        return False
    return probe.returncode == 0 and made_here


def create(environment: Path) -> None:
    missing = [module for module in ("venv", "ensurepip") if importlib.util.find_spec(module) is None]
    if missing:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"{sys.executable} has no {' and no '.join(missing)}, which .venv is made with."
            f" On Debian and Ubuntu: apt-get install python{version}-venv"
        )
    # A Python that itself runs in an environment must not be the one that clears it.
    base = getattr(sys, "_base_executable", sys.executable)
    run(base, "-m", "venv", "--clear", str(environment))


def run(*command: str) -> None:
    outcome = subprocess.run(command, check=False)
    if outcome.returncode:
        sys.exit(f"building .venv failed (exit code {outcome.returncode}): {' '.join(command)}")


def say(message: str) -> None:
    sys.stderr.write(f"noxfile.py: {message}\n")
    sys.stderr.flush()
