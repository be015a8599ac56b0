"""What several folders of tests share: a local cloud, a clock set by hand, a publisher that remembers.

Also which tests are run on which cloud, and how they are shared out to the processes that run them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from typing_extensions import override
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.pubsub import Message
from emulator.clouds import running_cloud

CONTRACT = "tests/contract/"
SAYS_NOTHING_OF_A_CLOUD = ("tests/contract/policy/", "tests/contract/dashboard/")
"""What these do with Firestore and Pub/Sub the tests of the capabilities do as well, on every cloud."""

# Another process may have the processor for a while: how long an example takes says nothing about it.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on the cloud that MESH_CLOUD names, and begin with the stacks, one after the other.

    They take longest, and a stack that has nothing more to do should not run on beside other tests.
    """
    for item in items:
        uses_the_cloud = isinstance(item, pytest.Function) and "local_cloud" in item.fixturenames
        on_a_stack = item.get_closest_marker("stack") and not item.nodeid.startswith(SAYS_NOTHING_OF_A_CLOUD)
        if uses_the_cloud or on_a_stack:
            item.add_marker("cloud")
    items.sort(key=lambda item: (0, item.path.parent) if item.get_closest_marker("stack") else (1, Path()))


class ByStack(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """One process runs all tests that share a stack: a module's, or those of a folder of contract tests."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if not path.startswith(CONTRACT):
            return path
        folder, below, _ = path.removeprefix(CONTRACT).partition("/")
        return f"{CONTRACT}{folder}/" if below else CONTRACT


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByStack:
    """Share the tests out so that no stack is started twice."""
    return ByStack(config, log)


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


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudAddresses]:
    """Firestore and Pub/Sub for the whole session: the embedded ones, or what MESH_CLOUD names."""
    place = tmp_path_factory.mktemp("cloud")
    with running_cloud(place) as cloud, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", cloud.firestore)
        patch.setenv("PUBSUB_EMULATOR_HOST", cloud.pubsub)
        yield CloudAddresses(cloud.firestore, cloud.pubsub)


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
