"""How a role runs here: functions-framework's production server with the role's environment."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulator.httpd import LOOPBACK
from emulator.identities import Identities
from emulator.oidc.authorization import AUTHORIZE_PATH
from emulator.oidc.issuer import MINT_PATH
from emulator.processes import Command
from emulator.topology import Topology

_NOT_INHERITED: Final = frozenset(
    {
        "FIREBASE_CONFIG",
        "FUNCTION_SIGNATURE_TYPE",
        "FUNCTION_TARGET",
        "GCE_METADATA_ROOT",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "K_CONFIGURATION",
        "K_REVISION",
        "K_SERVICE",
        "NO_GCE_CHECK",
        "PORT",
    }
)
"""What would make a function believe in another cloud, or in another process."""

STATE: Final = "{state}"
"""In a value under ``local.environment``: the directory where a key of a role is kept as long as the documents."""


@dataclass(frozen=True, slots=True)
class FunctionAddress:
    """Where a running function is. ``audience`` is its base URL, exactly."""

    url: str
    log: str
    port: int

    @property
    def audience(self) -> str:
        """The only audience that its tokens may have."""
        return self.url

    @property
    def docs(self) -> str:
        """Its interactive API reference."""
        return f"{self.url}/docs"

    @property
    def health(self) -> str:
        """Answers 200 when it is ready."""
        return f"{self.url}/healthz"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all functions share: the stand-ins for Google and where the code is."""

    topology: Topology
    identities: Identities
    root: Path
    state: Path
    firestore: str
    pubsub: str
    issuer: str
    certs_url: str


def function_address(port: int, log: Path) -> FunctionAddress:
    """The address of a function on this port."""
    return FunctionAddress(f"http://{LOOPBACK}:{port}", str(log), port)


def agent_table(topology: Topology, running: Mapping[str, FunctionAddress]) -> dict[str, dict[str, str | int]]:
    """The value of MESH_AGENTS: every agent whose role runs."""
    return {
        name: {
            "url": running[agent.role].url,
            "audience": running[agent.role].audience,
            "maxCostCents": agent.max_cost_cents,
        }
        for name, agent in topology.agents.items()
        if agent.role in running
    }


def cloud_environment(around: Surroundings) -> dict[str, str]:
    """The variables that lead any client to the local cloud."""
    project = around.identities.project
    return {
        "GCP_PROJECT": project,
        "GOOGLE_CLOUD_PROJECT": project,
        "FIRESTORE_EMULATOR_HOST": around.firestore,
        "PUBSUB_EMULATOR_HOST": around.pubsub,
        "OIDC_ISSUER": around.issuer,
        "OIDC_CERTS_URL": around.certs_url,
    }


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process without other clouds, and with no proxy for loopback."""
    kept = {name: text for name, text in environment.items() if name not in _NOT_INHERITED}
    direct = ",".join(filter(None, [kept.get("NO_PROXY"), LOOPBACK, "localhost"]))
    return {**kept, "NO_PROXY": direct, "no_proxy": direct}


def function_environment(
    around: Surroundings,
    role: str,
    running: Mapping[str, FunctionAddress],
    metadata: str,
    extra: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment of a role's process; the later source wins: role, local, ``extra``."""
    topology, function = around.topology, around.topology.roles[role]
    base = inherited(os.environ)
    path = os.pathsep.join(filter(None, [str(around.root / "shared"), base.get("PYTHONPATH")]))
    return {
        **base,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        **cloud_environment(around),
        "THREADS": str(function.concurrency),
        "GCE_METADATA_HOST": metadata,
        "GCE_METADATA_IP": metadata,
        "SIGN_IN_URL": around.issuer + AUTHORIZE_PATH,
        "SIGN_IN_TOKEN_URL": around.issuer + MINT_PATH,
        "OIDC_AUDIENCE": running[role].audience,
        "MESH_AGENTS": json.dumps(agent_table(topology, running)),
        **topology.allow_lists(role, around.identities),
        **function.environment,
        **{name: text.replace(STATE, str(around.state)) for name, text in topology.local.environment.items()},
        **extra,
    }


def function_command(
    around: Surroundings, role: str, address: FunctionAddress, environment: Mapping[str, str]
) -> Command:
    """Start the role's entry point as the production server would."""
    function = around.topology.roles[role]
    arguments = (
        *(sys.executable, "-m", "functions_framework"),
        *("--target", function.entry_point),
        *("--source", str(source_folder(around, role) / "main.py")),
        *("--signature-type", "http"),
        *("--host", LOOPBACK),
        *("--port", str(address.port)),
    )
    return Command(role, arguments, environment, Path(address.log), source_folder(around, role))


def source_folder(around: Surroundings, role: str) -> Path:
    """The folder of the role's ``main.py``."""
    return around.root / around.topology.roles[role].source
