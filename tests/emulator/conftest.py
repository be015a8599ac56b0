from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.clouds import running_cloud
from emulator.delivery.messages import Message
from emulator.pubsub_wire import PubSubWire
from emulator.stack import LocalStack, StackOptions
from tests.conftest import CloudAddresses

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [program for program in ("gcloud", "java") if shutil.which(program) is None]
    if missing:
        skip = pytest.mark.skip(reason=f"the official emulators need {' and '.join(missing)} on PATH")
        for item in items:
            if item.get_closest_marker("official"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def official_cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CloudAddresses]:
    """Google's own emulators, whatever the session's cloud is."""
    if StackOptions().cloud == "official":
        yield request.getfixturevalue("local_cloud")
        return
    with running_cloud(tmp_path_factory.mktemp("official"), "official") as cloud:
        yield CloudAddresses(cloud.firestore, cloud.pubsub)


@pytest.fixture(scope="session")
def roles_file() -> Path:
    return HERE / "roles.json"


@pytest.fixture
def copied_root(tmp_path: Path) -> Path:
    """A root with the fixture function and roles file that the test may change."""
    root = tmp_path / "root"
    shutil.copytree(HERE / "fixture_function", root / "fixture_function", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "roles.json", root / "roles.json")
    return root


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    options = StackOptions(
        state_dir=tmp_path_factory.mktemp("mesh"),
        roles_file=HERE / "roles.json",
        root=HERE,
        environment={"alpha": {"EXTRA": "given"}},
    )
    with LocalStack(options) as running:
        yield running


@pytest.fixture
def publish(stack: LocalStack) -> Iterator[Callable[..., None]]:
    wire = PubSubWire(stack.pubsub)

    def send(topic: str, text: str, key: str = "", **attributes: str) -> None:
        wire.publish(f"projects/mesh-local/topics/{topic}", [Message("", text.encode(), "", attributes, key)])

    yield send
    wire.close()


@pytest.fixture(scope="session")
def fetch() -> Callable[[str], Any]:
    def get(url: str) -> Any:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  a server of the same test
            return json.load(answer)

    return get


@pytest.fixture
def seen(stack: LocalStack, fetch: Callable[[str], Any]) -> Callable[[str, str], list[dict[str, Any]]]:
    """What a role received with this text, oldest first."""
    return lambda role, text: [one for one in fetch(stack.url(role) + "/seen") if one["text"] == text]


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Wait until a look finds something, and return it."""

    def wait(look: Callable[[], Any], seconds: float = 10.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := look()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert found, f"not within {seconds} s"
        return found

    return wait
