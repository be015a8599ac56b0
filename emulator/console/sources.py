"""What the console shows and switches, as the stack hands it over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from emulator.functions import FunctionAddress
from emulator.routes import Route

Json = Any
"""What ``json`` reads and writes."""


class Control(Protocol):
    """The control of one embedded server, such as :class:`emulator.firestore.control.RemoteControl`."""

    def act(self, name: str, /, **arguments: object) -> Json:
        """Do an act by its name. Raises ``grpc.RpcError`` when the server refuses."""
        ...


Usage = Callable[[Mapping[str, str]], Json]
"""What has been used, narrowed by the query parameters of the request."""

Counts = Mapping[str, Mapping[str, int]]
"""Of deliveries, by the short name of their subscription."""

Deliveries = Callable[[], Counts]
"""Raises EmulatorError when nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What an embedded cloud offers beyond Google's protocols: controls by the service's name, and counts."""

    controls: Mapping[str, Control] = field(default_factory=dict)
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Addresses are ``host:port``; ``extras`` is called with the first request."""

    project: str
    cloud: str
    firestore: str
    pubsub: str
    logs: Path
    routes: Sequence[Route] = ()
    functions: Mapping[str, FunctionAddress] = field(default_factory=dict)
    extras: Callable[[], Extras] = Extras
    deliveries: Deliveries | None = None
