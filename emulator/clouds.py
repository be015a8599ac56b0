"""Which clouds there are, and how to run one without the rest of the stack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from emulator.cloud import Cloud, CloudPlace
from emulator.embedded import EmbeddedCloud
from emulator.errors import EmulatorError
from emulator.events import log_event
from emulator.official import OfficialCloud
from emulator.ports import Ports
from emulator.probes import wait_until_ready
from emulator.processes import Guard
from emulator.supervision import Supervisor

EMBEDDED: Final = "embedded"
CLOUDS: Final[Mapping[str, Callable[[CloudPlace], Cloud]]] = {EMBEDDED: EmbeddedCloud, "official": OfficialCloud}
_READY_SECONDS: Final = 60.0


def usual_cloud() -> str:
    """The cloud that is meant when none is named: the variable MESH_CLOUD, else the embedded one."""
    return os.environ.get("MESH_CLOUD") or EMBEDDED


def make_cloud(name: str, place: CloudPlace) -> Cloud:
    """A cloud that is not started yet. Raises EmulatorError for an unknown name."""
    if name not in CLOUDS:
        raise EmulatorError(f"there is no cloud {name!r}; there is {', '.join(CLOUDS)}")
    return CLOUDS[name](place)


@contextmanager
def running_cloud(folder: Path, name: str = "") -> Iterator[Cloud]:
    """Firestore and Pub/Sub alone, ready; logs and state in the folder. Raises StartError."""
    with ExitStack() as exits:
        guard, ports = Guard(), Ports(folder / "ports.json")
        exits.callback(guard.close)
        exits.callback(ports.close)
        place = CloudPlace(ports, folder, folder, Supervisor(guard, log_event, _READY_SECONDS))
        cloud = make_cloud(name or usual_cloud(), place)
        exits.callback(cloud.stop)
        wait_until_ready(cloud.start(), _READY_SECONDS)
        yield cloud
