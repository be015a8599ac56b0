"""Child processes that never outlive the stack: each its own group, each with its own log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulator import guard
from emulator.errors import StartError

_STEP: Final = 0.02


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: its whole environment, where it writes, where it runs."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    directory: Path


class Guard:
    """The process that kills what a dead stack left behind; see :mod:`emulator.guard`."""

    def __init__(self) -> None:
        """Start it."""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            (sys.executable, "-S", "-E", guard.__file__),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def watch(self, group: int) -> None:
        """Kill this group if the stack dies."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """This group has ended."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Kill what is still watched, and end."""
        with self._lock:
            self._process.communicate()

    def _tell(self, line: str) -> None:
        with self._lock:
            pipe = self._process.stdin
            if pipe is None or pipe.closed:
                return
            pipe.write(line)
            pipe.flush()


class Child:
    """A running command. All signals go to its whole process group."""

    def __init__(self, command: Command, guarded_by: Guard) -> None:
        """Start it, appending to its log. Raises StartError if the program is missing."""
        self.command = command
        self._guard = guarded_by
        command.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with command.log.open("ab") as log:
                self._process = subprocess.Popen(
                    command.arguments,
                    env=dict(command.environment),
                    cwd=command.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise StartError(f"cannot start {command.name} ({command.arguments[0]}): {error.strerror}") from error
        guarded_by.watch(self.pid)

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self, grace: float) -> None:
        """SIGTERM, and after ``grace`` seconds SIGKILL, to the whole group; then wait."""
        stop_all([self], grace)

    def kill(self) -> None:
        """SIGKILL the whole group and wait."""
        guard.kill_group(self.pid)
        self._process.wait()
        self._guard.forget(self.pid)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the group and return at once."""
        if self.running():
            os.killpg(self.pid, signal.SIGTERM)


def stop_all(children: Iterable[Child], grace: float) -> None:
    """SIGTERM all at once, share ``grace`` seconds, then SIGKILL whatever is left of each group."""
    children = list(children)
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + grace
    while any(child.running() for child in children) and time.monotonic() < deadline:
        time.sleep(_STEP)
    for child in children:
        child.kill()


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log file, to show in an error."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-count:])
