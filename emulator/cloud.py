"""What the stack wants from whatever stands in for Firestore and Pub/Sub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from emulator.console.sources import Extras
from emulator.identities import Identities
from emulator.ports import Ports
from emulator.probes import Awaited
from emulator.supervision import Supervisor
from emulator.topology import Topology


@dataclass(frozen=True, slots=True)
class CloudPlace:
    """Where a cloud may put things: ports, logs and state, and who watches over its processes."""

    ports: Ports
    logs: Path
    state: Path
    supervisor: Supervisor
    keep: bool = False
    """Whether documents and messages outlive the cloud; the official emulators keep nothing."""
    token_url: str = ""
    """Where ID tokens of pushes are minted; without it pushes carry none."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a cloud delivers: the roles file, read, and the URLs of the roles that run."""

    roles_file: Path
    topology: Topology
    identities: Identities
    role_urls: Mapping[str, str]


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

    @property
    def stats_url(self) -> str:
        """Where :meth:`deliveries` can be read over HTTP; empty when nowhere."""
        ...

    def start(self) -> Sequence[Awaited]:
        """Start all of it and return at once what has to become ready.

        Raises StartError that says how to install what is missing.
        """
        ...

    def deploy(self, deployment: Deployment) -> Sequence[Awaited]:
        """Create topics and subscriptions, once it is ready; returns what has to become ready besides.

        Messages may wait until :meth:`release`. Raises StartError when something is refused.
        """
        ...

    def release(self) -> None:
        """Deliver, from now on and again after :meth:`hold`."""
        ...

    def hold(self) -> None:
        """Begin no further delivery: messages wait and lose no attempt. Does nothing before :meth:`release`."""
        ...

    def deliveries(self) -> dict[str, dict[str, int]]:
        """Counts by subscription (see ``emulator.delivery.tally``), of those that lead to a role."""
        ...

    def stop(self) -> None:
        """Stop all of it; calling it twice, or before start, does nothing."""
        ...
