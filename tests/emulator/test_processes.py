from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import AlreadyRunningError, EmulatorError, StartError
from emulator.events import events_to, log_event
from emulator.guard import kill_group, left_behind
from emulator.ports import Ports
from emulator.probes import Awaited, accepts, answers_ok, wait_until_ready
from emulator.processes import Child, Command, Guard, last_lines, stop_all
from emulator.stack_file import StateDirectory
from emulator.supervision import Supervisor, reloader
from emulator.watch import Watch, snapshot
from emulator.workers import Workers

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


POLITE = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_DFL); print('ready', flush=True); time.sleep(60)"
)


def command(tmp_path: Path, code: str, name: str = "sleeper") -> Command:
    return Command(name, (sys.executable, "-c", code), os.environ, tmp_path / f"{name}.log", tmp_path)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def guard() -> Iterator[Guard]:
    running = Guard()
    yield running
    running.close()


def test_the_guard_kills_what_is_still_listed(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    watched, forgotten = Guard(), Guard()
    stray, free = Child(command(tmp_path, SLEEP), watched), Child(command(tmp_path, SLEEP), forgotten)
    forgotten.forget(free.pid)
    watched.close()
    forgotten.close()
    eventually(lambda: not stray.running())
    assert stray.exit_code == -signal.SIGKILL
    assert free.running()
    free.kill()


def test_the_guard_reads_additions_and_removals() -> None:
    assert left_behind(["+1\n", "+2\n", "-1\n", "-9\n", "\n"]) == [2]
    kill_group(2**22 - 1)


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom emulator.processes import *\n"
        f"c = Child(Command('x', (sys.executable, '-c', {SLEEP!r}), os.environ, Path('x.log'), Path('.')), Guard())\n"
        "print(c.pid, flush=True)\ntime.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    eventually(lambda: not alive(pid))


def test_a_deaf_child_is_killed_after_the_grace(tmp_path: Path, guard: Guard, eventually: Callable[..., Any]) -> None:
    deaf, polite = Child(command(tmp_path, STUBBORN, "deaf"), guard), Child(command(tmp_path, POLITE), guard)
    eventually(lambda: "deaf" in last_lines(deaf.command.log) and "ready" in last_lines(polite.command.log))
    started = time.monotonic()
    stop_all([deaf, polite], 5)
    assert time.monotonic() - started < 15
    assert (deaf.exit_code, polite.exit_code) == (-signal.SIGKILL, -signal.SIGTERM)
    deaf.stop(0.1)


def test_a_missing_program_is_named(tmp_path: Path, guard: Guard) -> None:
    missing = Command("ghost", ("/no/such/program",), {}, tmp_path / "ghost.log", tmp_path)
    with pytest.raises(StartError, match=r"cannot start ghost \(/no/such/program\): No such file"):
        Child(missing, guard)


def test_waiting_tells_who_ended_or_is_late_and_shows_its_log(tmp_path: Path, guard: Guard) -> None:
    broken = Child(command(tmp_path, "raise SystemExit('out of luck')", "broken"), guard)
    with pytest.raises(StartError, match=r"broken ended with code 1 .*\n.*out of luck"):
        wait_until_ready([Awaited(broken, answers_ok("http://127.0.0.1:1/"))], 5)
    late = Child(command(tmp_path, SLEEP), guard)
    with pytest.raises(StartError, match=r"sleeper was not ready within 0\.1 s"):
        wait_until_ready([Awaited(late, accepts("127.0.0.1", 1))], 0.1)
    late.kill()
    assert last_lines(tmp_path / "none.log") == "(no log)"


def test_ports_are_remembered_and_never_shared(tmp_path: Path) -> None:
    first = Ports(tmp_path / "ports.json")
    port = first.take("a")
    first.remember()
    second = Ports(tmp_path / "ports.json")
    assert second.take("a") != port
    first.close()
    third = Ports(tmp_path / "ports.json")
    assert third.take("a") == port
    second.close()
    third.close()


def test_a_broken_port_file_is_ignored(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"a": 80, "b": "x"}'):
        (tmp_path / "ports.json").write_text(content)
        ports = Ports(tmp_path / "ports.json")
        assert 20000 <= ports.take("a") <= 32000
        ports.close()


def test_a_state_directory_has_one_owner(tmp_path: Path) -> None:
    first, second = StateDirectory(tmp_path), StateDirectory(tmp_path)
    first.claim()
    first.write_stack({"version": 1})
    with pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()} already runs"):
        second.claim()
    assert json.loads(first.stack_file.read_text()) == {"version": 1}
    first.release()
    first.release()
    assert not first.stack_file.exists()
    second.claim()
    second.release()


def test_what_a_killed_stack_left_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{}")
    (tmp_path / "lock").write_text("1")
    state = StateDirectory(tmp_path)
    state.claim()
    assert not state.stack_file.exists()
    state.release()


def test_a_watch_names_who_uses_changed_code(tmp_path: Path) -> None:
    shared, one, two = (tmp_path / name for name in ("shared", "one", "two"))
    for folder in (shared, one, two):
        folder.mkdir()
    watch = Watch({"a": (one, shared), "b": (two, shared)}, lambda _: None)
    assert watch.check() == []
    (one / "main.py").write_text("x = 1")
    assert watch.check() == ["a"]
    (one / "__pycache__").mkdir()
    (one / "__pycache__" / "main.pyc").write_text("")
    assert watch.check() == []
    (shared / "policy.rego").write_text("")
    assert watch.check() == ["a", "b"]
    (one / "main.py").unlink()
    assert watch.check() == ["a"]
    assert snapshot(tmp_path / "missing") == frozenset()


def test_a_running_watch_calls_back(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    calls: list[list[str]] = []
    watch = Watch({"a": (tmp_path,)}, calls.append)
    watch.start()
    (tmp_path / "main.py").write_text("")
    eventually(lambda: calls == [["a"]])
    watch.stop()


@pytest.fixture
def supervisor(guard: Guard, tmp_path: Path) -> Iterator[Supervisor]:
    running = Supervisor(guard, events_to(tmp_path / "events.log"), 5)
    running.keep_alive()
    yield running
    running.close()
    running.stop(["sleeper"], 1)


def test_a_service_that_dies_comes_back(supervisor: Supervisor, tmp_path: Path, eventually: Callable[..., Any]) -> None:
    supervisor.add(command(tmp_path, SLEEP), lambda: True)
    first = supervisor.pids()["sleeper"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: supervisor.pids().get("sleeper", first) != first)
    assert '"service.died"' in (tmp_path / "events.log").read_text()


def test_a_killed_service_stays_down_until_it_is_started(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(command(tmp_path, SLEEP), lambda: True)
    supervisor.kill("sleeper")
    reloader(supervisor, events_to(tmp_path / "events.log"))(["sleeper"])
    time.sleep(0.6)
    assert supervisor.pids() == {}
    supervisor.start("sleeper")
    pid = supervisor.pids()["sleeper"]
    supervisor.start("sleeper")
    assert supervisor.pids()["sleeper"] == pid


def test_a_restart_makes_a_new_process(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(command(tmp_path, SLEEP), lambda: True)
    first = supervisor.pids()["sleeper"]
    supervisor.restart(["sleeper"])
    assert supervisor.pids()["sleeper"] != first
    with pytest.raises(EmulatorError, match="there is no 'ghost' here; there are sleeper"):
        supervisor.restart(["ghost"])


def test_a_service_whose_death_is_final_stays_dead(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(command(tmp_path, SLEEP), lambda: True, revive=False)
    os.kill(supervisor.pids()["sleeper"], signal.SIGKILL)
    time.sleep(0.6)
    assert supervisor.pids() == {}
    assert (tmp_path / "events.log").read_text().count('"service.died"') == 1
    supervisor.start("sleeper")
    assert supervisor.pids()


def test_what_a_service_forgets_is_restored_after_every_start_but_the_first(
    supervisor: Supervisor, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    restored: list[int] = []

    def restore() -> None:
        restored.append(supervisor.pids()["sleeper"])

    supervisor.add(command(tmp_path, SLEEP), lambda: True, restored=restore)
    time.sleep(0.3)
    assert restored == []
    supervisor.restart(["sleeper"])
    assert restored == [supervisor.pids()["sleeper"]]
    os.kill(supervisor.pids()["sleeper"], signal.SIGKILL)
    eventually(lambda: len(restored) == 2)
    supervisor.start("sleeper")
    assert len(restored) == 2


def test_what_could_not_be_restored_is_tried_again(
    supervisor: Supervisor, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    tries: list[str] = []

    def restore() -> None:
        tries.append("once more")
        if len(tries) == 1:
            raise EmulatorError("not yet")

    supervisor.add(command(tmp_path, SLEEP), lambda: True, restored=restore)
    os.kill(supervisor.pids()["sleeper"], signal.SIGKILL)
    eventually(lambda: len(tries) == 2)
    assert '"service.not_restored"' in (tmp_path / "events.log").read_text()


def test_broken_code_is_reported(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(command(tmp_path, "raise SystemExit(3)"), lambda: False)
    reloader(supervisor, events_to(tmp_path / "events.log"))(["sleeper"])
    assert '"code.broken"' in (tmp_path / "events.log").read_text()


def test_events_go_to_standard_error_as_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    log_event("push.failed", attempt=2)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["attempt"]) == ("push.failed", 2)


def test_workers_run_at_most_so_many_jobs_at_once() -> None:
    workers, running, most, done = Workers("w", 3), set[int](), list[int](), list[int]()

    def job(number: int) -> None:
        running.add(number)
        most.append(len(running))
        time.sleep(0.01)
        running.discard(number)
        done.append(number)

    for number in range(12):
        workers.submit(lambda number=number: job(number))  # type: ignore[misc]
    deadline = time.monotonic() + 5
    while len(done) < 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(done) == list(range(12))
    assert max(most) <= 3
