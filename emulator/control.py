"""Control of a server besides using it: reset, snapshot, clock, faults.

What can be done stands in a table of acts, by name. The server's own process calls them directly; every other process
through one gRPC method on the server's own port that takes and gives JSON. It is no part of Google's protocols.
"""

from __future__ import annotations

import base64
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc

_CALL: Final = "Call"
_SECONDS: Final = 30.0
_ANY_SIZE: Final = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Acts = Mapping[str, Callable[..., Any]]
"""By name, each with keyword arguments and an answer that JSON can hold; an act may be a coroutine function."""


async def perform(acts: Acts, name: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401  # JSON
    """Do an act. Raises ValueError for a name that is not in the table."""
    if name not in acts:
        raise ValueError(f"there is no act {name!r}; there are {', '.join(acts)}")
    done = acts[name](**arguments)
    return await done if inspect.isawaitable(done) else done


def control_handlers(service: str, acts: Acts) -> grpc.GenericRpcHandler:
    """The service that a :class:`ControlClient` of the same name calls. Wrong requests are INVALID_ARGUMENT."""

    async def answer(request: bytes, context: Any) -> bytes:  # noqa: ANN401  # grpc.aio gives no type
        try:
            asked = json.loads(request)
            return json.dumps(await perform(acts, asked["act"], asked.get("with", {}))).encode()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{type(error).__name__}: {error}")
            raise

    return grpc.method_handlers_generic_handler(service, {_CALL: grpc.unary_unary_rpc_method_handler(answer)})


def as_text(snapshot: bytes) -> str:
    """A snapshot as JSON can hold it."""
    return base64.b64encode(snapshot).decode()


def as_bytes(text: str) -> bytes:
    """The snapshot of such a text. Raises ValueError when it is none."""
    return base64.b64decode(text, validate=True)


class Control(ABC):
    """What both servers offer, wherever they run."""

    @abstractmethod
    def act(self, name: str, /, **arguments: object) -> Any:  # noqa: ANN401  # JSON
        """Do any act by its name."""

    def reset(self) -> None:
        """Forget everything that is stored, counted and planned."""
        self.act("reset")

    def snapshot(self) -> bytes:
        """Everything that is stored, to be given to :meth:`restore`."""
        return as_bytes(self.act("snapshot"))

    def restore(self, snapshot: bytes) -> None:
        """Go back to a snapshot; what is open ends."""
        self.act("restore", snapshot=as_text(snapshot))

    def usage(self, **question: object) -> dict[str, Any]:
        """What the service would bill since the start or the last reset; see ``emulator.usage.report``."""
        report: dict[str, Any] = self.act("usage", **question)
        return report


class ControlClient(Control):
    """Controls a server in another process, at ``host:port``."""

    def __init__(self, service: str, address: str) -> None:
        """Connect lazily, with the first call."""
        self._channel = grpc.insecure_channel(address, options=_ANY_SIZE)
        self._call: Callable[..., bytes] = self._channel.unary_unary(f"/{service}/{_CALL}")

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def act(self, name: str, /, **arguments: object) -> Any:  # noqa: ANN401  # JSON
        """Do any act by its name. Raises ``grpc.RpcError`` when the server refuses or does not answer."""
        request = json.dumps({"act": name, "with": arguments}).encode()
        return json.loads(self._call(request, timeout=_SECONDS, wait_for_ready=True))
