"""The audit function beside an orchestrator and an agent, whose events it keeps."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import firestore

from agent_mesh.ledger import open_key_file, verifier_key
from agent_mesh.ledger.signing import LOCAL_ORIGIN
from emulator.stack import LocalStack, StackOptions
from tests.contract.mesh import Mesh
from tests.contract.roles import DEPLOYED
from tests.unit.ledger.a_witness import AWitness

ROLES = ("orchestrator", "agent_light", "audit")


def audit_roles() -> dict[str, Any]:
    """Return the deployed table with these roles alone; the agent's account is a caller who is no operator."""
    document = copy.deepcopy(DEPLOYED)
    document["roles"] = {name: document["roles"][name] for name in ROLES}
    document["agents"] = {name: one for name, one in document["agents"].items() if one["role"] in ROLES}
    for part in ("subscriptions", "schedules"):
        document[part] = {
            name: one
            for name, one in document[part].items()
            if (one["push"]["role"] if part == "subscriptions" else one["role"]) in ROLES
        }
    dead = document["roles"]["orchestrator"]["allow"]["MESH_DEAD_LETTER_PUSHERS"]
    document["roles"]["orchestrator"]["allow"]["MESH_DEAD_LETTER_PUSHERS"] = [
        each for each in dead if each.removeprefix("subscription:") in document["subscriptions"]
    ]
    document["roles"]["audit"]["allow"]["MESH_CALLERS"] = ["developer", "role:agent_light"]
    local = document["local"]
    local["retry"] = {"minimumBackoffSeconds": 0.05, "maximumBackoffSeconds": 0.2}
    local["schedules"] = {"sweep": {"everySeconds": 0.5}, "heartbeat": {"everySeconds": 0.5}}
    local["developerMayPush"] = False
    return document


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stack; its state is in `.mesh`."""
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="package")
def witness(place: Path) -> Iterator[AWitness]:
    """A witness of the ledger, whose key is made before the stack starts."""
    (place / ".mesh").mkdir()
    log_key = verifier_key(open_key_file(place / "ledger-key", LOCAL_ORIGIN))
    witness = AWitness(place / "witness", log_key)
    with witness.server:
        yield witness


@pytest.fixture(scope="package")
def stack(place: Path, witness: AWitness) -> Iterator[LocalStack]:
    """The running stack."""
    roles = place / "roles.json"
    roles.write_text(json.dumps(audit_roles()))
    listed = [{"url": f"{witness.server.url}/prefix", "key": str(witness.key)}]
    key_file = str(place / "ledger-key")
    environment = {"audit": {"LEDGER_WITNESSES": json.dumps(listed), "LEDGER_KEY_FILE": key_file}}
    with LocalStack(StackOptions(state_dir=place / ".mesh", roles_file=roles, environment=environment)) as running:
        yield running


@pytest.fixture(scope="package")
def mesh(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The stack as its clients see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", stack.firestore)
        database = firestore.Client(project=stack.project)
    mesh = Mesh(stack, Path(tmp_path_factory.mktemp("starts")), database)
    yield mesh
    mesh.close()
