"""What several folders of tests share: a local cloud, a clock set by hand, a publisher that remembers.

Also which tests are run on which cloud, and how they are shared out to the processes that run them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.pubsub import Message
from emulator.cloud import CloudPlace
from emulator.ports import Ports
from emulator.probes import wait_until_ready
from emulator.processes import Guard
from emulator.stack import CLOUDS, StackOptions


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on the cloud that MESH_CLOUD names, and keep tests that share a stack in one process."""
    for item in items:
        starts_a_stack = item.get_closest_marker("stack") is not None
        if starts_a_stack or (isinstance(item, pytest.Function) and "local_cloud" in item.fixturenames):
            item.add_marker("cloud")
        if starts_a_stack and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@dataclass(frozen=True)
class CloudAddresses:
    """Where Firestore and Pub/Sub are reached, as `host:port`."""

    firestore: str
    pubsub: str


@dataclass
class HandClock:
    """A clock that stands still until a test moves it. Unix seconds."""

    time: float = 1_800_000_000.0

    def now(self) -> float:
        """Return the time that was set."""
        return self.time

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.time += seconds


@dataclass
class RecordingPublisher:
    """Remembers what was published, by the topic's short name."""

    messages: dict[str, list[Message]] = field(default_factory=dict)

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Take messages; return ids for them."""
        taken = self.messages.setdefault(topic.rsplit("/", 1)[-1], [])
        taken.extend(messages)
        return [secrets.token_hex(4) for _ in messages]

    def on(self, topic: str) -> list[Message]:
        """Return what was published on a topic, by its short name."""
        return self.messages.get(topic, [])


@contextmanager
def running_cloud(name: str, place: Path) -> Iterator[CloudAddresses]:
    """A Firestore and a Pub/Sub of this kind, with what they write in this folder."""
    with ExitStack() as stack:
        guard = Guard()
        stack.callback(guard.close)
        ports = Ports(place / "ports.json")
        stack.callback(ports.close)
        cloud = CLOUDS[name](CloudPlace(ports, place, place, guard))
        stack.callback(cloud.stop)
        wait_until_ready(cloud.start(), 60.0)
        yield CloudAddresses(cloud.firestore, cloud.pubsub)


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudAddresses]:
    """Firestore and Pub/Sub for the whole session: the embedded ones, or what MESH_CLOUD names."""
    with (
        running_cloud(StackOptions().cloud, tmp_path_factory.mktemp("cloud")) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("FIRESTORE_EMULATOR_HOST", cloud.firestore)
        patch.setenv("PUBSUB_EMULATOR_HOST", cloud.pubsub)
        yield cloud


@pytest.fixture
def database(local_cloud: CloudAddresses, monkeypatch: pytest.MonkeyPatch) -> FirestoreClient:
    """An empty Firestore."""
    monkeypatch.setitem(os.environ, "FIRESTORE_EMULATOR_HOST", local_cloud.firestore)
    return FirestoreClient(f"test-{secrets.token_hex(6)}")


@pytest.fixture
def clock() -> HandClock:
    """A clock that stands still."""
    return HandClock()


@pytest.fixture
def publisher() -> RecordingPublisher:
    """A publisher that remembers."""
    return RecordingPublisher()
