"""What the stack wants from whatever stands in for Firestore and Pub/Sub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from emulator.console.sources import Extras
from emulator.ports import Ports
from emulator.probes import Awaited
from emulator.processes import Guard


@dataclass(frozen=True, slots=True)
class CloudPlace:
    """Where a cloud may put things: ports, logs and state, and the guard of its processes."""

    ports: Ports
    logs: Path
    state: Path
    guard: Guard
    keep: bool = False
    """Whether documents and messages outlive the cloud; the official emulators keep nothing."""


class Cloud(Protocol):
    """Firestore and Pub/Sub on this machine. Addresses are ``host:port``."""

    @property
    def firestore(self) -> str:
        """The value of FIRESTORE_EMULATOR_HOST."""
        ...

    @property
    def pubsub(self) -> str:
        """The value of PUBSUB_EMULATOR_HOST."""
        ...

    def extras(self) -> Extras:
        """What it offers the console beyond Google's protocols; good until :meth:`stop`."""
        ...

    def start(self) -> Sequence[Awaited]:
        """Start all of it and return at once what has to become ready.

        Raises StartError that says how to install what is missing.
        """
        ...

    def stop(self) -> None:
        """Stop all of it; calling it twice, or before start, does nothing."""
        ...
