"""Google's own Firestore and Pub/Sub emulators, started without gcloud where that is possible.

``gcloud beta emulators ... start`` takes 5 s, most of it gcloud; the same Java program started
directly takes 1 s. gcloud is the fallback for an SDK with another layout.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3

from emulator.cloud import CloudPlace, Deployment
from emulator.console.sources import Extras
from emulator.errors import EmulatorError, StartError
from emulator.functions import inherited
from emulator.httpd import LOOPBACK
from emulator.probes import Awaited, accepts, answers_ok
from emulator.processes import Command

ROOT: Final = Path(__file__).resolve().parent.parent
_INSTALL: Final = (
    "install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install) with the components "
    "beta, cloud-firestore-emulator and pubsub-emulator: with apt "
    "`apt-get install google-cloud-cli google-cloud-cli-firestore-emulator google-cloud-cli-pubsub-emulator`, "
    "else `gcloud components install beta cloud-firestore-emulator pubsub-emulator`"
)
_JAVA_FLAGS: Final = ("-XX:+UseSerialGC", "-Xshare:auto", "-Duser.language=en")
_GRACE_SECONDS: Final = 5.0
_BRIDGE: Final = "bridge"


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
    """Google's emulators on two free ports, and the bridge that pushes in place of their Pub/Sub."""

    def __init__(self, place: CloudPlace) -> None:
        """Take the ports; nothing is started yet."""
        self._place = place
        self._ports = {name: place.ports.take(name) for name in (FIRESTORE.name, PUBSUB.name, _BRIDGE)}

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

    @property
    def stats_url(self) -> str:
        """The bridge's own counts."""
        return f"{self._bridge_url}/stats"

    @property
    def _bridge_url(self) -> str:
        return f"http://{LOOPBACK}:{self._ports[_BRIDGE]}"

    def start(self) -> Sequence[Awaited]:
        """Start both emulators. Raises StartError that says how to install what is missing."""
        return [self._start(emulator) for emulator in (FIRESTORE, PUBSUB)]

    def deploy(self, deployment: Deployment) -> Sequence[Awaited]:
        """Start the bridge, which creates topics and subscriptions and begins to deliver."""
        place = self._place
        environment = {
            **inherited(os.environ),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "GCP_PROJECT": deployment.identities.project,
            "PUBSUB_EMULATOR_HOST": self.pubsub,
            "OIDC_TOKEN_URL": place.token_url,
            "ROLE_URLS": json.dumps(dict(deployment.role_urls)),
            "BRIDGE_PORT": str(self._ports[_BRIDGE]),
        }
        roles = str(deployment.roles_file.resolve())
        arguments = (sys.executable, "-m", "emulator", "bridge", "--roles", roles)
        command = Command(_BRIDGE, arguments, environment, place.logs / "bridge.log", ROOT)
        return [place.supervisor.add(command, answers_ok(f"{self._bridge_url}/healthz"))]

    def release(self) -> None:
        """Start the bridge unless it runs."""
        self._place.supervisor.start(_BRIDGE)

    def hold(self) -> None:
        """Stop the bridge; it gives back what it could not deliver."""
        self._place.supervisor.stop([_BRIDGE], _GRACE_SECONDS)

    def deliveries(self) -> dict[str, dict[str, int]]:
        """The bridge's counts since it was started. Raises EmulatorError when it does not answer."""
        try:
            answer = urllib3.request("GET", self.stats_url, timeout=5.0, retries=False)
            counts: dict[str, dict[str, int]] = answer.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise EmulatorError(f"the bridge at {self.stats_url} does not answer: {error}") from error
        return counts

    def stop(self) -> None:
        """Stop everything, with all processes they started."""
        self.hold()
        self._place.supervisor.stop([FIRESTORE.name, PUBSUB.name], _GRACE_SECONDS)

    def _start(self, emulator: Emulator) -> Awaited:
        place, port = self._place, self._ports[emulator.name]
        place.state.mkdir(parents=True, exist_ok=True)
        arguments = command_line(emulator, port, place.state / emulator.name)
        command = Command(emulator.name, arguments, os.environ, place.logs / f"{emulator.name}.log", place.state)
        return place.supervisor.add(command, accepts(LOOPBACK, port), revive=False)
