"""The state directory: who runs in it, and ``stack.json``, by which other programs find the stack."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import IO, Final

from emulator.errors import AlreadyRunningError

STACK_FILE: Final = "stack.json"
VERSION: Final = 1


class StateDirectory:
    """A directory that at most one running stack owns."""

    def __init__(self, path: Path) -> None:
        """Nothing is touched until :meth:`claim`."""
        self.path = path.resolve()
        self._lock: IO[str] | None = None

    @property
    def logs(self) -> Path:
        """One log file per process; they are kept."""
        return self.path / "logs"

    def for_functions(self, *, kept: bool) -> Path:
        """Where functions keep what belongs to their documents, such as the ledger's key; empty if those are not kept.

        A ledger that began again under the key of an earlier one would look like a rewritten one, and rightly so.
        """
        if kept:
            return self.path
        folder = self.path / "unkept"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    @property
    def stack_file(self) -> Path:
        """Exists while the stack is ready."""
        return self.path / STACK_FILE

    def claim(self) -> None:
        """Own the directory until :meth:`release`.

        A lock of the operating system ends with its process, so a stack that was killed does
        not stand in the way. Raises AlreadyRunningError with the owner's pid.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        lock = (self.path / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise AlreadyRunningError(
                f"a stack with pid {owner} already runs in {self.path}; stop it, or choose another --state-dir"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        self.stack_file.unlink(missing_ok=True)

    def write_stack(self, document: dict[str, object]) -> None:
        """Publish the stack in one step: a reader sees the whole file or none."""
        draft = self.path / f"{STACK_FILE}.{os.getpid()}"
        draft.write_text(json.dumps(document, indent=2) + "\n")
        draft.replace(self.stack_file)

    def release(self) -> None:
        """Remove ``stack.json`` and give the directory up."""
        if self._lock is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self.stack_file.unlink()
        self._lock.close()
        self._lock = None
