"""CPU of importing a function: its `main.py` against the third-party packages that it ends up with, nothing of ours.

Each import runs in a fresh interpreter, the two in turn; what counts is user and system time of the process, less that
of an interpreter that imports nothing.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.report import Verdict, compare

GOAL: Final = 1.25
ROOT: Final = Path(__file__).resolve().parent.parent
_ENVIRONMENT: Final = {"GCP_PROJECT": "mesh-local", "PYTHONHASHSEED": "0"}
_LOAD: Final = """
import flask, runpy, sys
with flask.Flask("functions-framework").app_context():
    runpy.run_path(sys.argv[1], run_name="main")
"""
"""As functions-framework does: inside its own app's context."""

_NAMES: Final = """
import json, sys
print(json.dumps([name for name in sys.modules if sys.modules[name] is not None]))
"""


@dataclass(frozen=True)
class Function:
    """A function's role and its main.py."""

    role: str
    main: Path


def functions() -> list[Function]:
    """Return every function of functions/."""
    return [Function(main.parent.name, main) for main in sorted((ROOT / "functions").glob("*/main.py"))]


def imported_by(main: Path) -> list[str]:
    """Return the modules that a fresh interpreter has after importing a main.py, in the order of their import."""
    names: list[str] = json.loads(run_python(_LOAD + _NAMES, str(main)))
    return names


def measure(rounds: int) -> list[Verdict]:
    """Compare each function with its third-party packages."""
    return [_measured(function, rounds) for function in functions()]


def _measured(function: Function, rounds: int) -> Verdict:
    foreign = _third_party(imported_by(function.main))
    script = "import " + ", ".join(foreign)
    for code, arguments in ((_LOAD, (str(function.main),)), (script, ())):
        run_python(code, *arguments)  # compiles what is not compiled yet
    base = median(_cpu_ms("pass") for _ in range(rounds))
    pairs = []
    for number in range(rounds):
        turns = [(_LOAD, (str(function.main),)), (script, ())]
        took = {code: _cpu_ms(code, *arguments) - base for code, arguments in (turns if number % 2 else turns[::-1])}
        pairs.append((took[_LOAD], took[script]))
    return compare(f"import {function.role}", pairs, "ms CPU", GOAL, at_most=True)


def _third_party(modules: Sequence[str]) -> list[str]:
    """Return what is neither ours nor the standard library's, in the order in which it was imported."""
    probe = """
import importlib.util, json, sys
def foreign(name):
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    return bool(spec and spec.origin and "site-packages" in spec.origin)
print(json.dumps([name for name in json.loads(sys.argv[1]) if foreign(name)]))
"""
    candidates = [
        name for name in modules if name.partition(".")[0] not in {*sys.stdlib_module_names, "agent_mesh", "main"}
    ]
    kept: list[str] = json.loads(run_python(probe, json.dumps(candidates)))
    return kept


def run_python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter that has our package and is not measured by coverage; return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = inherited | _ENVIRONMENT | {"PYTHONPATH": str(ROOT / "shared")}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def _cpu_ms(code: str, *arguments: str) -> float:
    """Return user and system milliseconds of one fresh interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_python(code, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000
