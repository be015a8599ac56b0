"""Google's own Firestore and Pub/Sub emulators, started without gcloud where that is possible.

``gcloud beta emulators ... start`` takes 5 s, most of it gcloud; the same Java program started
directly takes 1 s. gcloud is the fallback for an SDK with another layout.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulator.cloud import CloudPlace
from emulator.console.sources import Extras
from emulator.errors import StartError
from emulator.httpd import LOOPBACK
from emulator.probes import Awaited, accepts
from emulator.processes import Child, Command, stop_all

_INSTALL: Final = (
    "install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install) with the components "
    "beta, cloud-firestore-emulator and pubsub-emulator: with apt "
    "`apt-get install google-cloud-cli google-cloud-cli-firestore-emulator google-cloud-cli-pubsub-emulator`, "
    "else `gcloud components install beta cloud-firestore-emulator pubsub-emulator`"
)
_JAVA_FLAGS: Final = ("-XX:+UseSerialGC", "-Xshare:auto", "-Duser.language=en")
_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Emulator:
    """One emulator: its name for gcloud, where its jar lies in the SDK, its main class and words."""

    name: str
    jar: str
    main: str
    words: tuple[str, ...]


FIRESTORE: Final = Emulator(
    "firestore",
    "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
    "com.google.cloud.datastore.emulator.firestore.CloudFirestore",
    ("start",),
)
PUBSUB: Final = Emulator(
    "pubsub",
    "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
    "com.google.cloud.pubsub.testing.v1.Main",
    (),
)


def sdk_root(gcloud: str) -> Path:
    """The SDK that this gcloud belongs to: the folder above its ``bin``."""
    return Path(gcloud).resolve().parent.parent


def command_line(emulator: Emulator, port: int, data: Path) -> tuple[str, ...]:
    """How to start it: Java directly if its jar is found, else through gcloud.

    Raises StartError that says how to install what is missing.
    """
    java, gcloud = shutil.which("java"), shutil.which("gcloud")
    if java is None:
        raise StartError(f"the {emulator.name} emulator needs Java 17 or newer on PATH: `apt-get install default-jre`")
    if gcloud is None:
        raise StartError(f"the {emulator.name} emulator needs gcloud on PATH: {_INSTALL}")
    storage = (f"--data-dir={data}",) if emulator is PUBSUB else ()
    jars = sorted(sdk_root(gcloud).glob(emulator.jar))
    if jars:
        run = (java, *_JAVA_FLAGS, "-cp", str(jars[-1]), emulator.main, *emulator.words)
        return (*run, f"--host={LOOPBACK}", f"--port={port}", *storage)
    run = (gcloud, "beta", "emulators", emulator.name, "start", "--quiet")
    return (*run, f"--host-port={LOOPBACK}:{port}", *storage)


class OfficialCloud:
    """Google's emulators on two free ports."""

    def __init__(self, place: CloudPlace) -> None:
        """Take the ports; nothing is started yet."""
        self._place = place
        self._ports = {emulator.name: place.ports.take(emulator.name) for emulator in (FIRESTORE, PUBSUB)}
        self._children: list[Child] = []

    @property
    def firestore(self) -> str:
        """The value of FIRESTORE_EMULATOR_HOST."""
        return f"{LOOPBACK}:{self._ports['firestore']}"

    @property
    def pubsub(self) -> str:
        """The value of PUBSUB_EMULATOR_HOST."""
        return f"{LOOPBACK}:{self._ports['pubsub']}"

    def extras(self) -> Extras:
        """Nothing: these emulators can neither be controlled nor count."""
        return Extras()

    def start(self) -> Sequence[Awaited]:
        """Start both. Raises StartError that says how to install what is missing."""
        return [self._start(emulator) for emulator in (FIRESTORE, PUBSUB)]

    def stop(self) -> None:
        """Stop both, with all processes they started."""
        stop_all(self._children, _GRACE_SECONDS)
        self._children.clear()

    def _start(self, emulator: Emulator) -> Awaited:
        port = self._ports[emulator.name]
        self._place.state.mkdir(parents=True, exist_ok=True)
        arguments = command_line(emulator, port, self._place.state / emulator.name)
        log = self._place.logs / f"{emulator.name}.log"
        child = Child(Command(emulator.name, arguments, os.environ, log, self._place.state), self._place.guard)
        self._children.append(child)
        return Awaited(child, accepts(LOOPBACK, port))
