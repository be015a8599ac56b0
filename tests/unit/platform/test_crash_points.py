"""Crash points stop a process that a test armed, and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import agent_mesh
from agent_mesh.platform import crash_points
from agent_mesh.platform.crash_points import CRASH_POINTS, crash_point

PACKAGE = Path(agent_mesh.__file__).parent
PROGRAM = """
from agent_mesh.platform.crash_points import crash_point
crash_point("agent.claimed")
print("survived")
"""


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_process_stops_at_the_point_that_was_armed_and_only_once(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("agent.claimed\n")
    stopped = run(MESH_CRASH_FILE=str(armed))
    assert (stopped.returncode, stopped.stdout) == (137, "")
    assert not armed.exists()
    assert run(MESH_CRASH_FILE=str(armed)).stdout == "survived\n"


def test_another_point_stays_armed(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("agent.handled")
    assert run(MESH_CRASH_FILE=str(armed)).stdout == "survived\n"
    assert armed.exists()


def test_a_deployed_function_never_looks(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("agent.claimed")
    assert run(MESH_CRASH_FILE=str(armed), K_SERVICE="agent").stdout == "survived\n"


def test_nothing_happens_where_nothing_can_be_armed() -> None:
    crash_point("agent.claimed")
    assert crash_points._file is None


def test_every_point_in_the_code_is_in_the_list_and_every_point_of_the_list_is_in_the_code() -> None:
    sources = [path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "crash_points.py"]
    named = {name for source in sources for name in re.findall(r'crash_point\(\s*"([^"]+)"', source)}
    assert named == set(CRASH_POINTS)
    assert len(CRASH_POINTS) == len(set(CRASH_POINTS))
