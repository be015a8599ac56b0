"""The embedded cloud: our own Firestore and Pub/Sub as two processes that need nothing but Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import grpc

from emulator.cloud import CloudPlace, Deployment
from emulator.console.sources import Control, Extras, Json
from emulator.errors import EmulatorError
from emulator.httpd import LOOPBACK
from emulator.probes import Awaited, accepts
from emulator.processes import Command

if TYPE_CHECKING:
    from emulator.pubsub.control import RemoteControl

ROOT: Final = Path(__file__).resolve().parent.parent
INDEXES: Final = ROOT / "infra" / "firestore.indexes.json"
_SERVERS: Final = ("firestore", "pubsub")
_GRACE_SECONDS: Final = 3.0
_READY_SECONDS: Final = 30.0
_REPLACING: Final = frozenset({"reset", "restore"})
"""The acts on Pub/Sub after which other topics and subscriptions are there."""

_Answer = TypeVar("_Answer")


class EmbeddedCloud:
    """Both servers on free ports; a query without its declared index is refused, as in production.

    Pub/Sub pushes itself. It begins held, and so after every restart: what it kept was meant for the ports of
    another run, and functions that are not up yet would cost its messages their attempts.
    """

    def __init__(self, place: CloudPlace) -> None:
        """Take the ports; nothing is started yet."""
        self._place = place
        self._ports = {name: place.ports.take(name) for name in _SERVERS}
        self._deployment: Deployment | None = None
        self._released = False
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
        from emulator.firestore.control import RemoteControl as FirestoreControl
        from emulator.pubsub.control import RemoteControl as PubsubControl
        from emulator.usage.merge import merge_usage

        firestore = self._controls.enter_context(closing(FirestoreControl(self.firestore)))
        pubsub = self._controls.enter_context(closing(PubsubControl(self.pubsub)))
        controls: dict[str, Control] = {"firestore": firestore, "pubsub": Redeploying(pubsub, self._restored)}
        return Extras(
            controls=controls, usage=lambda question: merge_usage(firestore.usage(**question), pubsub.usage(**question))
        )

    @property
    def stats_url(self) -> str:
        """Nowhere: :meth:`deliveries` asks Pub/Sub itself."""
        return ""

    def start(self) -> Sequence[Awaited]:
        """Start both. One that keeps its state is started again when it dies; the other's state is lost for good."""
        return [self._start(name) for name in _SERVERS]

    def deploy(self, deployment: Deployment) -> Sequence[Awaited]:
        """Create the topics and the push subscriptions."""
        from emulator.provision import provision, pushed_resources  # imports Google's clients: while functions start
        from emulator.pubsub_wire import PubSubWire

        self._deployment = deployment
        wanted = pushed_resources(deployment.topology, deployment.identities, deployment.role_urls)
        with closing(PubSubWire(self.pubsub)) as wire:
            provision(wire, wanted, _READY_SECONDS)
        return ()

    def release(self) -> None:
        """Let Pub/Sub push."""
        self._controlled(lambda pubsub: pubsub.release_pushes())
        self._released = True

    def hold(self) -> None:
        """Let Pub/Sub push nothing more; what is under way ends."""
        self._released, released = False, self._released
        if released and "pubsub" in self._place.supervisor.pids():
            self._controlled(lambda pubsub: pubsub.hold_pushes())

    def deliveries(self) -> dict[str, dict[str, int]]:
        """Counts by the subscriptions' short names."""
        counts = self._controlled(lambda pubsub: pubsub.deliveries())
        return {name.rpartition("/")[2]: each for name, each in counts.items()}

    def stop(self) -> None:
        """Stop both; what they keep is saved first."""
        self._controls.close()
        self._place.supervisor.stop(_SERVERS, _GRACE_SECONDS)

    def _start(self, name: str) -> Awaited:
        place, port = self._place, self._ports[name]
        place.state.mkdir(parents=True, exist_ok=True)
        arguments = [sys.executable, "-m", f"emulator.{name}", "--port", str(port)]
        if place.keep:
            arguments += ["--storage", str((place.state / f"{name}.sqlite").resolve())]
        if name == "firestore":
            arguments += ["--indexes", str(INDEXES)]
        else:
            arguments += ["--held", "--token-url", place.token_url]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path}
        command = Command(name, tuple(arguments), environment, place.logs / f"{name}.log", ROOT)
        restored = self._restored if name == "pubsub" else None
        return place.supervisor.add(command, accepts(LOOPBACK, port), revive=place.keep, restored=restored)

    def _restored(self) -> None:
        if self._deployment is not None:
            self.deploy(self._deployment)
        if self._released:
            self.release()

    def _controlled(self, ask: Callable[[RemoteControl], _Answer]) -> _Answer:
        from emulator.pubsub.control import RemoteControl

        with closing(RemoteControl(self.pubsub)) as control:
            try:
                return ask(control)
            except grpc.RpcError as error:
                raise EmulatorError(f"Pub/Sub at {self.pubsub} cannot be controlled: {error}") from error


class Redeploying:
    """A control of Pub/Sub after whose reset or restore the stack's topics and subscriptions are there again.

    A snapshot may be of another run: nothing is pushed before its endpoints are those of this one.
    """

    def __init__(self, control: Control, restored: Callable[[], None]) -> None:
        """``restored`` creates them, and lets Pub/Sub push if it may."""
        self._control = control
        self._restored = restored

    def act(self, name: str, /, **arguments: object) -> Json:
        """Do an act by its name."""
        if name not in _REPLACING:
            return self._control.act(name, **arguments)
        self._control.act("push.hold")
        try:
            return self._control.act(name, **arguments)
        finally:
            self._restored()
