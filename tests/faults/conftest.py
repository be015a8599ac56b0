from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import firestore

from agent_mesh.client import MeshClient
from emulator.clouds import running_cloud
from emulator.pubsub.protos import Subscription
from emulator.pubsub_wire import PubSubWire
from emulator.stack import LocalStack, StackOptions
from tests.faults.mesh_under_test import MeshUnderTest, Receiver

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshUnderTest]:
    """A mesh with one agent, short leases and a sweep that is never far away."""
    folder = tmp_path_factory.mktemp("faults")
    crash_file, effects_file = folder / "crash-here", folder / "effects"
    extra = {"MESH_CRASH_FILE": str(crash_file), "PROBE_EFFECTS": str(effects_file)}
    options = StackOptions(
        state_dir=folder / ".mesh",
        roles_file=HERE / "roles.json",
        project="mesh-faults",
        environment={"orchestrator": extra, "probe": extra},
    )
    with LocalStack(options) as stack, MeshClient.from_stack(folder / ".mesh" / "stack.json") as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FIRESTORE_EMULATOR_HOST", stack.firestore)
            database = firestore.Client(project=stack.project)
        under_test = MeshUnderTest(
            stack, client, database, PubSubWire(stack.pubsub), Receiver(), crash_file, effects_file
        )
        under_test.wire.create_subscription(
            Subscription(name=under_test.events_subscription, topic=f"projects/{stack.project}/topics/events")
        )
        yield under_test
        under_test.receiver.close()
        under_test.wire.close()
        database.close()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Firestore alone, and this process looking at it."""
    folder = tmp_path_factory.mktemp("firestore")
    with running_cloud(folder) as cloud, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", cloud.firestore)
        yield cloud.firestore
