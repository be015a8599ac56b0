from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from google.cloud import firestore

from agent_mesh.client import MeshClient
from emulator.cloud import CloudPlace
from emulator.ports import Ports
from emulator.probes import wait_until_ready
from emulator.processes import Guard
from emulator.pubsub_wire import PubSubWire
from emulator.stack import CLOUDS, LocalStack, StackOptions
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
        topic = f"projects/{stack.project}/topics/events"
        under_test.wire.create_subscription(under_test.events_subscription, topic, ordering=False)
        yield under_test
        under_test.receiver.close()
        under_test.wire.close()
        database.close()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Firestore alone, and this process looking at it."""
    folder = tmp_path_factory.mktemp("firestore")
    with ExitStack() as running:
        guard, ports = Guard(), Ports(folder / "ports.json")
        running.callback(guard.close)
        running.callback(ports.close)
        cloud = CLOUDS[StackOptions().cloud](CloudPlace(ports, folder, folder, guard))
        running.callback(cloud.stop)
        wait_until_ready(cloud.start(), 60)
        patch = running.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("FIRESTORE_EMULATOR_HOST", cloud.firestore)
        yield cloud.firestore
