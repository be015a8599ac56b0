"""What can be done to a Pub/Sub server besides using it, in process or from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from grpc import StatusCode

from emulator.control import Acts, Control, ControlClient, as_bytes, as_text
from emulator.pubsub.broker import Broker
from emulator.pubsub.faults import CallFault, Duplicate, Fault, Reorder
from emulator.usage.report import question_from

SERVICE: Final = "emulator.pubsub.Control"
_FAULTS: Final[Mapping[str, type[Fault]]] = {kind.__name__: kind for kind in (CallFault, Duplicate, Reorder)}


def acts(broker: Broker) -> Acts:
    """The acts of :class:`PubsubControl`."""
    clock = broker.clock
    return {
        "reset": broker.clear,
        "snapshot": lambda: _snapshot(broker),
        "restore": lambda snapshot: _restore(broker, snapshot),
        "usage": lambda **question: broker.usage.report(question_from(question)),
        "inject": lambda **fault: broker.faults.inject(_fault(**fault)),
        "deliveries": broker.deliveries,
        "push.hold": broker.hold_pushes,
        "push.release": broker.release_pushes,
        "clock.now": clock.now,
        "clock.advance": lambda seconds: broker.move_clock(lambda: clock.advance(float(seconds))),
        "clock.freeze": lambda: broker.move_clock(clock.freeze),
        "clock.run": lambda: broker.move_clock(clock.run),
    }


def _snapshot(broker: Broker) -> str:
    from emulator.pubsub.storage import dump  # and SQLite, which few servers need

    return as_text(dump(broker))


def _restore(broker: Broker, snapshot: str) -> None:
    from emulator.pubsub.storage import load

    load(broker, as_bytes(snapshot))


def _fault(kind: str, code: str | None = None, **rest: Any) -> Fault:  # noqa: ANN401  # JSON
    if kind not in _FAULTS:
        raise ValueError(f"there is no fault {kind!r}; there are {', '.join(_FAULTS)}")
    if code is not None:
        if code not in StatusCode.__members__:
            raise ValueError(f"there is no gRPC status {code!r}; there are {', '.join(StatusCode.__members__)}")
        rest["code"] = StatusCode[code]
    return _FAULTS[kind](**rest)


class PubsubControl(Control):
    """What is special to Pub/Sub."""

    def inject(self, fault: Fault) -> None:
        """Plan a fault."""
        fields = asdict(fault)
        code = fields.get("code")
        self.act("inject", kind=type(fault).__name__, **fields | ({"code": code.name} if code else {}))

    def deliveries(self) -> dict[str, dict[str, int]]:
        """What was pushed so far, by the full name of each push subscription (see ``emulator.delivery.tally``)."""
        counts: dict[str, dict[str, int]] = self.act("deliveries")
        return counts

    def hold_pushes(self) -> None:
        """Begin no further push until :meth:`release_pushes`; messages wait and lose no attempt."""
        self.act("push.hold")

    def release_pushes(self) -> None:
        """Push again."""
        self.act("push.release")

    def advance(self, seconds: float) -> None:
        """Move the clock; what became due happens before this returns."""
        self.act("clock.advance", seconds=seconds)

    def freeze(self) -> None:
        """Stop the clock until :meth:`advance` or :meth:`unfreeze`."""
        self.act("clock.freeze")

    def unfreeze(self) -> None:
        """Let the clock run again."""
        self.act("clock.run")


class RemoteControl(ControlClient, PubsubControl):
    """Controls a server at ``host:port``."""

    def __init__(self, address: str) -> None:
        """Connect lazily, with the first call."""
        super().__init__(SERVICE, address)
