"""The embedded cloud: our own Firestore and Pub/Sub as two processes that need nothing but Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from emulator.cloud import CloudPlace
from emulator.console.sources import Extras, Json
from emulator.httpd import LOOPBACK
from emulator.probes import Awaited, accepts
from emulator.processes import Child, Command, stop_all

ROOT: Final = Path(__file__).resolve().parent.parent
INDEXES: Final = ROOT / "infra" / "firestore.indexes.json"
_SERVERS: Final = ("firestore", "pubsub")
_GRACE_SECONDS: Final = 3.0


class EmbeddedCloud:
    """Both servers on free ports; a query without its declared index is refused, as in production."""

    def __init__(self, place: CloudPlace) -> None:
        """Take the ports; nothing is started yet."""
        self._place = place
        self._ports = {name: place.ports.take(name) for name in _SERVERS}
        self._children: list[Child] = []
        self._controls = ExitStack()

    @property
    def firestore(self) -> str:
        """The value of FIRESTORE_EMULATOR_HOST."""
        return f"{LOOPBACK}:{self._ports['firestore']}"

    @property
    def pubsub(self) -> str:
        """The value of PUBSUB_EMULATOR_HOST."""
        return f"{LOOPBACK}:{self._ports['pubsub']}"

    def extras(self) -> Extras:
        """Controls and counts, connected until :meth:`stop`."""
        from emulator.firestore.control import RemoteControl

        control = RemoteControl(self.firestore)
        self._controls.callback(control.close)
        return Extras(controls={"firestore": control}, usage=lambda _question: _usage(control.usage()))

    def start(self) -> Sequence[Awaited]:
        """Start both."""
        return [self._start(name) for name in _SERVERS]

    def stop(self) -> None:
        """Stop both; what they keep is saved first."""
        self._controls.close()
        stop_all(self._children, _GRACE_SECONDS)
        self._children.clear()

    def _start(self, name: str) -> Awaited:
        place, port = self._place, self._ports[name]
        place.state.mkdir(parents=True, exist_ok=True)
        arguments = [sys.executable, "-m", f"emulator.{name}", "--port", str(port)]
        if place.keep:
            arguments += ["--storage", str((place.state / f"{name}.sqlite").resolve())]
        if name == "firestore":
            arguments += ["--indexes", str(INDEXES)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path}
        child = Child(Command(name, tuple(arguments), environment, place.logs / f"{name}.log", ROOT), place.guard)
        self._children.append(child)
        return Awaited(child, accepts(LOOPBACK, port))


def _usage(report: dict[str, Json]) -> Json:
    totals = {kind: report.pop(kind) for kind in ("reads", "writes", "deletes")}
    return {"totals": totals, **report}
