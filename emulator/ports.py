"""Free ports that two stacks on one machine never both take, and that stay the same over restarts.

Ports lie below the range that Linux gives to outgoing connections (32768 and up), so that no
client takes the port of a function while it restarts. A lock file per port keeps stacks apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from emulator.errors import StartError
from emulator.httpd import LOOPBACK

_LOWEST: Final = 20000
_HIGHEST: Final = 32000
_TRIES: Final = 200


class Ports:
    """Hands out ports by name, preferring the one that the name had before."""

    def __init__(self, remembered: Path) -> None:
        """``remembered`` is a JSON file of names and ports; it may be missing or broken."""
        self._file = remembered
        self._known = _read(remembered)
        self._locks: list[IO[str]] = []

    def take(self, name: str) -> int:
        """A free port, ours until :meth:`close`. Raises StartError when none is found."""
        for port in self._candidates(name):
            if self._reserve(port):
                self._known[name] = port
                return port
        raise StartError(f"no free port between {_LOWEST} and {_HIGHEST} for {name}")

    def remember(self) -> None:
        """Write the file for the next start."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._known, indent=1, sort_keys=True))

    def close(self) -> None:
        """Give all ports back."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()

    def _candidates(self, name: str) -> Iterator[int]:
        if name in self._known:
            yield self._known[name]
        chance = random.SystemRandom()
        for _ in range(_TRIES):
            yield chance.randint(_LOWEST, _HIGHEST)

    def _reserve(self, port: int) -> bool:
        folder = Path(tempfile.gettempdir()) / f"local-cloud-ports-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = (folder / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((LOOPBACK, port))
        except OSError:
            lock.close()
            return False
        self._locks.append(lock)
        return True


def _read(file: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text())
        if isinstance(known, dict):
            return {name: port for name, port in known.items() if _usable(port)}
    return {}


def _usable(port: object) -> bool:
    return isinstance(port, int) and _LOWEST <= port <= _HIGHEST
