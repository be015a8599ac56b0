"""What can be done to a Firestore server besides using it, in process or from elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from emulator.control import Acts, Control, ControlClient, as_bytes, as_text
from emulator.firestore.engine import Engine
from emulator.firestore.faults import Fault
from emulator.firestore.ttl import sweep
from emulator.usage.report import question_from

SERVICE: Final = "emulator.firestore.Control"


def acts(engine: Engine) -> Acts:
    """The acts of :class:`FirestoreControl`, and those on the clock."""
    clock = engine.clock
    return {
        "reset": engine.clear,
        "snapshot": lambda: as_text(engine.snapshot()),
        "restore": lambda snapshot: engine.restore(as_bytes(snapshot)),
        "usage": lambda **question: engine.usage.report(question_from(question)),
        "inject": lambda **fault: engine.faults.add(Fault(**fault)),
        "sweep": lambda: sweep(engine, engine.declared.ttl),
        "requireIndexes": lambda wanted: setattr(engine, "indexes_required", bool(wanted)),
        "clock.now": clock.now,
        "clock.advance": lambda seconds: clock.advance(float(seconds)),
        "clock.stop": lambda at=None: clock.stop(at),
        "clock.run": clock.run,
    }


class FirestoreControl(Control):
    """What is special to Firestore."""

    def inject(self, fault: Fault) -> None:
        """Let calls fail or be late."""
        self.act("inject", **asdict(fault))

    def sweep(self) -> int:
        """Delete now what TTL policies say has expired; return how many documents that were."""
        return int(self.act("sweep"))

    def require_indexes(self, *, wanted: bool) -> None:
        """Refuse queries that need an index which is not declared, or stop to."""
        self.act("requireIndexes", wanted=wanted)


class RemoteControl(ControlClient, FirestoreControl):
    """Controls a server at ``host:port``."""

    def __init__(self, address: str) -> None:
        """Connect lazily, with the first call."""
        super().__init__(SERVICE, address)
