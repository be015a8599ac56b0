"""Two processes of the relay on one local cloud, as two instances of one function."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import firestore

from emulator.stack import LocalStack, StackOptions
from tests.contract.mesh import Mesh
from tests.contract.relay.reader import OTHER, RELAY, Relay
from tests.contract.roles import DEPLOYED


def relay_roles() -> dict[str, Any]:
    """Return a table with the relay twice; the second one's account is a caller who is no operator."""
    document = copy.deepcopy(DEPLOYED)
    relay = document["roles"]["relay"]
    relay["allow"]["MESH_CALLERS"] = ["developer", f"role:{OTHER}"]
    relay["environment"] = {"RELAY_ALLOWED_ORIGINS": "https://ui.example"}
    document["roles"] = {RELAY: relay, OTHER: copy.deepcopy(relay)}
    document["agents"], document["schedules"] = {}, {}
    document["subscriptions"] = {"events-relay": document["subscriptions"]["events-relay"]}
    document["local"] = {"retry": {"minimumBackoffSeconds": 0.05, "maximumBackoffSeconds": 0.2}}
    return document


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The running stack."""
    place = tmp_path_factory.mktemp("relay")
    roles = place / "roles.json"
    roles.write_text(json.dumps(relay_roles()))
    with LocalStack(StackOptions(state_dir=place / ".mesh", roles_file=roles)) as running:
        yield running


@pytest.fixture(scope="package")
def relay(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """The relay as its clients see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", stack.firestore)
        database = firestore.Client(project=stack.project)
    mesh = Mesh(stack, Path(tmp_path_factory.mktemp("starts")), database)
    yield Relay(mesh)
    mesh.close()
