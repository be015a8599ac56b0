"""Control of a server: in process by its methods, and from elsewhere by the same methods over its own port.

The wire form is one gRPC method that takes and gives JSON; it is no part of Firestore's protocol.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, Protocol

import grpc

from emulator.firestore.engine import Engine
from emulator.firestore.faults import Fault
from emulator.firestore.ttl import sweep
from emulator.usage.report import question_from

SERVICE: Final = "emulator.firestore.Control"
_CALL: Final = "Call"
_SECONDS: Final = 30.0
Arguments = Mapping[str, Any]


class Controls(Protocol):
    """What can be done to a server besides using it."""

    def reset(self) -> None:
        """Forget all documents, transactions, counters and faults."""

    def snapshot(self) -> bytes:
        """All documents as they are."""

    def restore(self, snapshot: bytes) -> None:
        """Put the documents of a snapshot in the place of all."""

    def usage(self, **question: object) -> dict[str, object]:
        """What has been read, written and deleted so far; see ``emulator.usage.report``."""

    def inject(self, fault: Fault) -> None:
        """Let calls fail or be late."""

    def sweep(self) -> int:
        """Delete now what TTL policies say has expired; return how many documents that were."""

    def require_indexes(self, *, wanted: bool) -> None:
        """Refuse queries that need an index which is not declared, or stop to."""


async def control(engine: Engine, name: str, arguments: Arguments) -> object:
    """Do one of the acts of :class:`Controls`, or one on the clock. Raises KeyError for an unknown one."""
    if name == "sweep":
        return await sweep(engine, engine.declared.ttl)
    acts: dict[str, Callable[[], object]] = {
        "reset": engine.clear,
        "snapshot": lambda: base64.b64encode(engine.snapshot()).decode(),
        "restore": lambda: engine.restore(base64.b64decode(arguments["snapshot"])),
        "usage": lambda: engine.usage.report(question_from(arguments)),
        "inject": lambda: engine.faults.add(Fault(**arguments)),
        "requireIndexes": lambda: setattr(engine, "indexes_required", bool(arguments["wanted"])),
        "clock.now": engine.clock.now,
        "clock.advance": lambda: engine.clock.advance(float(arguments["seconds"])),
        "clock.stop": lambda: engine.clock.stop(arguments.get("at")),
        "clock.run": engine.clock.run,
    }
    return acts[name]()


def control_handlers(engine: Engine) -> grpc.GenericRpcHandler:
    """The service that :class:`RemoteControl` calls."""

    async def answer(request: bytes, context: Any) -> bytes:  # noqa: ANN401  # grpc.aio gives no type
        try:
            asked = json.loads(request)
            return json.dumps(await control(engine, asked["act"], asked.get("with", {}))).encode()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{type(error).__name__}: {error}")
            raise

    return grpc.method_handlers_generic_handler(SERVICE, {_CALL: grpc.unary_unary_rpc_method_handler(answer)})


class RemoteControl:
    """Controls a server at ``host:port``."""

    def __init__(self, address: str) -> None:
        """Connect lazily, with the first call."""
        self._channel = grpc.insecure_channel(address)
        self._call: Callable[..., bytes] = self._channel.unary_unary(f"/{SERVICE}/{_CALL}")

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def reset(self) -> None:
        """Forget all documents, transactions, counters and faults."""
        self.act("reset")

    def snapshot(self) -> bytes:
        """All documents as they are."""
        return base64.b64decode(str(self.act("snapshot")))

    def restore(self, snapshot: bytes) -> None:
        """Put the documents of a snapshot in the place of all."""
        self.act("restore", snapshot=base64.b64encode(snapshot).decode())

    def usage(self, **question: object) -> dict[str, object]:
        """What has been read, written and deleted so far; see ``emulator.usage.report``."""
        report: dict[str, object] = self.act("usage", **question)
        return report

    def inject(self, fault: Fault) -> None:
        """Let calls fail or be late."""
        self.act("inject", **asdict(fault))

    def sweep(self) -> int:
        """Delete now what TTL policies say has expired; return how many documents that were."""
        return int(self.act("sweep"))

    def require_indexes(self, *, wanted: bool) -> None:
        """Refuse queries that need an index which is not declared, or stop to."""
        self.act("requireIndexes", wanted=wanted)

    def act(self, name: str, **arguments: object) -> Any:  # noqa: ANN401  # JSON
        """Do any act by its name, such as ``clock.advance`` with ``seconds``."""
        return json.loads(self._call(json.dumps({"act": name, "with": arguments}).encode(), timeout=_SECONDS))
