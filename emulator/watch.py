"""Sees changed code by polling modification times, which works on every file system."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.7
_IGNORED: Final = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", ".git"})

Snapshot = frozenset[tuple[str, int, int]]


def snapshot(folder: Path) -> Snapshot:
    """Every file below the folder with its modification time (ns) and size; empty if there is none."""
    found: set[tuple[str, int, int]] = set()
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _IGNORED]
        for name in files:
            if not name.endswith((".pyc", "~", ".swp")):
                found.update(_stamp(Path(place, name)))
    return frozenset(found)


class Watch:
    """Calls ``changed(names)`` with everything that uses a folder whose files changed."""

    def __init__(self, folders: Mapping[str, Iterable[Path]], changed: Callable[[list[str]], None]) -> None:
        """``folders`` maps each name to the folders it depends on."""
        self._folders = {name: tuple(paths) for name, paths in folders.items()}
        self._changed = changed
        self._seen = self._look()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="code-watch", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self) -> None:
        """End; a restart that runs is waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> list[str]:
        """The names whose code changed since the last look."""
        before, self._seen = self._seen, self._look()
        different = {folder for folder, files in self._seen.items() if files != before.get(folder)}
        return [name for name, folders in self._folders.items() if different.intersection(folders)]

    def _look(self) -> dict[Path, Snapshot]:
        return {folder: snapshot(folder) for folder in {path for paths in self._folders.values() for path in paths}}

    def _poll(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            names = self.check()
            if names:
                self._changed(names)


def _stamp(file: Path) -> Iterable[tuple[str, int, int]]:
    try:
        status = file.stat()
    except OSError:  # deleted between listing and looking
        return
    yield str(file), status.st_mtime_ns, status.st_size
