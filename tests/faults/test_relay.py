"""The relay when processes die, Pub/Sub restarts and half of the readers vanish: nothing is lost, nothing repeated."""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Final

import pytest
from google.cloud import firestore

from emulator.stack import LocalStack, StackOptions
from tests.contract.mesh import Mesh, eventually
from tests.contract.relay.conftest import relay_roles
from tests.contract.relay.reader import OTHER, RELAY, Reader, Relay

pytestmark = [pytest.mark.faults, pytest.mark.stack]

CATCH_UP_SECONDS: Final = 1.0
MANY: Final = 500


@pytest.fixture(scope="module")
def crash_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names the point at which the first instance dies next."""
    return tmp_path_factory.mktemp("relay") / "crash-here"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, crash_file: Path) -> Iterator[LocalStack]:
    """Two instances, of which the first can be made to crash."""
    place = tmp_path_factory.mktemp("stack")
    document = copy.deepcopy(relay_roles())
    for role in document["roles"].values():
        role["environment"]["RELAY_CATCH_UP_SECONDS"] = str(CATCH_UP_SECONDS)
    roles = place / "roles.json"
    roles.write_text(json.dumps(document))
    crashing = {RELAY: {"MESH_CRASH_FILE": str(crash_file)}}
    options = StackOptions(state_dir=place / ".mesh", roles_file=roles, environment=crashing)
    with LocalStack(options) as running:
        yield running


@pytest.fixture(scope="module")
def relay(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """The relay as its clients see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", stack.firestore)
        database = firestore.Client(project=stack.project)
    mesh = Mesh(stack, tmp_path_factory.mktemp("starts"), database)
    yield Relay(mesh)
    mesh.close()


def insist(relay: Relay, topic: str, n: int, key: str) -> str:
    """Publish as a careful client does: with a key, and again where there was no answer."""
    deadline = time.monotonic() + 30
    while True:
        try:
            answer = relay.publish(topic, {"n": n}, key=key)
            if answer.status == 200:
                return str(answer.json["event_id"])
            assert answer.status == 503, answer.body
        except Exception:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


@pytest.mark.parametrize("point", ["relay.appended", "relay.told"])
def test_a_publisher_that_is_repeated_after_a_crash_has_published_once(
    relay: Relay, crash_file: Path, point: str
) -> None:
    topic = f"t{uuid.uuid4().hex}"
    with relay.read(topic, role=OTHER) as reader:
        relay.published(topic, 1, role=OTHER)
        crash_file.write_text(point)
        event_id = insist(relay, topic, 2, "key")
        assert not crash_file.exists()
        relay.published(topic, 3, role=OTHER)
        reader.wait_for(3)
    assert reader.numbers == [1, 2, 3]
    assert reader.events[1].event_id == event_id


def test_what_nobody_was_told_of_is_found_all_the_same(relay: Relay, crash_file: Path) -> None:
    topic = f"t{uuid.uuid4().hex}"
    with relay.read(topic, role=OTHER) as reader:
        crash_file.write_text("relay.appended")
        with pytest.raises(Exception):  # noqa: B017  # whatever the client makes of a connection that breaks
            relay.publish(topic, {"n": 1})
        reader.wait_for(1)
    assert reader.numbers == [1]
    eventually(lambda: relay.mesh.request("GET", "/health", role=RELAY).status == 200)


def test_streams_outlive_a_restart_of_pubsub(relay: Relay) -> None:
    topic = f"t{uuid.uuid4().hex}"
    with relay.read(topic, role=OTHER) as reader:
        relay.published(topic, 1)
        reader.wait_for(1)
        relay.mesh.stack.kill("pubsub")
        answer = relay.publish(topic, {"n": 2}, key="k")
        assert answer.refusal == (503, "unavailable")
        reader.wait_for(2)
        relay.mesh.stack.start("pubsub")
        insist(relay, topic, 2, "k")
        relay.published(topic, 3)
        reader.wait_for(3)
    assert reader.numbers == [1, 2, 3]


def test_a_killed_instance_leaves_its_readers_nothing_to_miss(relay: Relay) -> None:
    topic = f"t{uuid.uuid4().hex}"
    seen: list[int] = []
    last = ""

    def publish() -> None:
        for number in range(60):
            insist(relay, topic, number, f"k{number}")
            time.sleep(0.1)  # slow enough that no restart misses more than the history replays

    publishing = threading.Thread(target=publish)
    publishing.start()
    for _ in range(3):
        with relay.read(topic, role=OTHER, last=last) as reader:
            reader.wait_for(5)
            relay.mesh.stack.kill(OTHER)
            reader.wait_for_the_end()
        seen, last = [*seen, *reader.numbers], reader.last_event_id
        relay.mesh.stack.start(OTHER)
    publishing.join()
    with relay.read(topic, role=OTHER, last=last) as reader:
        eventually(lambda: len(seen) + len(reader.events) >= 60)
    assert [*seen, *reader.numbers] == list(range(60))


def test_half_of_500_readers_vanish_and_come_back_and_miss_nothing_and_see_nothing_twice(relay: Relay) -> None:
    topic = f"t{uuid.uuid4().hex}"
    count = 120
    seen: list[list[int]] = [[] for _ in range(MANY)]

    def follow(index: int) -> None:
        last, left = "", index % 2 == 0
        while len(seen[index]) < count:
            reader = opened(relay, topic, last)
            with reader:
                wanted = 20 + index % 50 if left else count
                while len(seen[index]) + len(reader.events) < wanted and not reader.ended:
                    time.sleep(0.05)
            left = False
            seen[index] += reader.numbers
            last = reader.last_event_id

    never_reads = relay.open("/subscribe", {"topic": topic})
    readers = [threading.Thread(target=follow, args=[index]) for index in range(MANY)]
    for thread in readers:
        thread.start()
    eventually(lambda: relay.get(f"/presence?topic={topic}").json["count"] == MANY + 1, 60)
    for number in range(count):
        relay.published(topic, number)
        time.sleep(0.05)
    for thread in readers:
        thread.join(120)
    never_reads.connection.close()
    assert [numbers for numbers in seen if numbers != list(range(count))] == []


def test_a_reader_that_never_reads_is_dropped_with_a_reason_and_slows_nobody(relay: Relay) -> None:
    topic = f"t{uuid.uuid4().hex}"
    large = {"text": "x" * 200_000}
    never_reads = relay.open("/subscribe", {"topic": topic})
    taken: list[float] = []
    for _ in range(80):
        began = time.monotonic()
        assert relay.publish(topic, large).status == 200
        taken.append(time.monotonic() - began)
    eventually(lambda: relay.get(f"/presence?topic={topic}").json["count"] == 0)
    assert max(taken) < 5, "publishing waited for a reader"
    rest = b""
    try:
        while piece := never_reads.response.read1(1_000_000):
            rest = (rest + piece)[-200:]
    except (HTTPException, OSError):  # it was cut off before it began to read again
        rest = b"cut off"
    never_reads.connection.close()
    assert b'{"reason":"slow"}' in rest or rest == b"cut off"


def opened(relay: Relay, topic: str, last: str) -> Reader:
    """Open a stream, again while the instance has too many."""
    deadline = time.monotonic() + 60
    while True:
        reader = relay.open("/subscribe", {"topic": topic}, last=last)
        if reader.response.status == 200:
            return reader
        assert reader.response.status == 503
        reader.connection.close()
        assert time.monotonic() < deadline
        time.sleep(0.5)
