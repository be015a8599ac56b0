"""Two processes append to one ledger and die wherever they like: it stays one tree, with everything once."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from agent_mesh.ledger import (
    Checkpoint,
    VerifierKey,
    open_checkpoint,
    parse_note,
    parse_receipt,
    parse_verifier_key,
    verify_consistency,
    verify_receipt,
)
from agent_mesh.ledger.inspection import inspect
from agent_mesh.ledger.reader import LedgerReader
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.platform.crash_points import CRASH_POINTS
from agent_mesh.platform.firestore import FirestoreClient
from emulator.delivery.messages import Message
from emulator.pubsub_wire import PubSubWire
from emulator.stack import LocalStack, StackOptions
from tests.faults.mesh_under_test import PATIENCE_S, eventually

pytestmark = pytest.mark.faults

ROLES = ("audit", "audit_too")
POINTS = [point for point in CRASH_POINTS if point.startswith(("audit.", "ledger."))]


@dataclass
class LedgerUnderTest:
    """Two processes of the audit function over one ledger, and what is in Firestore."""

    stack: LocalStack
    store: LedgerStore
    wire: PubSubWire
    crash_file: Path
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=16, retries=False))

    def arm(self, point: str) -> None:
        """Let the next process that comes by `point` die there."""
        part = self.crash_file.with_suffix(".part")
        part.write_text(point)
        part.rename(self.crash_file)

    def append(self, role: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Append entries with these ids, and insist: a connection that broke or a 503 is answered by asking again."""
        entries = [{"tx_id": name, "event": "e", "actor": "a", "payload": {}, "id": name} for name in names]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(urllib3.exceptions.HTTPError):
                answer = self.call("POST", role, "/audit/batch", {"entries": entries})
                if answer.status == 200:
                    found: list[dict[str, Any]] = answer.json()["entries"]
                    return found
                assert answer.status == 503, answer.data
            assert time.monotonic() < deadline, "the ledger takes nothing"
            time.sleep(0.05)

    def call(self, method: str, role: str, path: str, body: object = None) -> Any:
        """Call one of the two."""
        url = self.stack.url(role)
        headers = {"Authorization": f"Bearer {self.stack.token(url)}"}
        return self.pool.request(method, url + path, headers=headers, json=body, timeout=PATIENCE_S)

    def publish(self, event_id: str) -> None:
        """Publish an event as the mesh does."""
        event = {"id": event_id, "source": "/x", "type": "mesh.x", "subject": event_id, "time": "2027-01-01T00:00:00Z"}
        message = Message("", json.dumps(event).encode(), "", {"type": "mesh.x"})
        self.wire.publish(f"projects/{self.stack.project}/topics/events", [message])

    def delivered(self, published: int) -> bool:
        """Return whether so many events were taken, and none waits."""
        counts = self.stack.deliveries()["events-audit"]
        return counts["acked"] >= published and counts["leased"] == 0

    @property
    def acked(self) -> int:
        """How many events were taken so far."""
        return self.stack.deliveries()["events-audit"]["acked"]

    @property
    def key(self) -> VerifierKey:
        """The key of the ledger."""
        return LedgerReader(self.store).key()

    def places(self, name: str) -> list[int]:
        """Return where the entries of a transaction stand."""
        return [record.index for record in LedgerReader(self.store).records_of(name).records]

    def assert_whole(self) -> None:
        """Read everything again."""
        assert inspect(self.store, self.key, 0, 10_000).findings == ()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerUnderTest]:
    """Two processes, with one entry in the ledger."""
    folder = tmp_path_factory.mktemp("ledger")
    crash_file = folder / "crash-here"
    options = StackOptions(
        state_dir=folder / ".mesh",
        roles_file=Path(__file__).with_name("ledger_roles.json"),
        project="ledger-faults",
        environment={role: {"MESH_CRASH_FILE": str(crash_file)} for role in ROLES},
    )
    with LocalStack(options) as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FIRESTORE_EMULATOR_HOST", stack.firestore)
            database = FirestoreClient(stack.project)
            database.client.collections()  # connects while the address is known
        under_test = LedgerUnderTest(stack, LedgerStore(database), PubSubWire(stack.pubsub), crash_file)
        under_test.append("audit", ["first"])
        yield under_test
        under_test.wire.close()
        database.client.close()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_step_neither_loses_nor_repeats_an_event(ledger: LedgerUnderTest, point: str) -> None:
    names, taken = [uuid.uuid4().hex for _ in range(5)], ledger.acked
    ledger.arm(point)
    for name in names:
        ledger.publish(name)
    eventually(lambda: ledger.delivered(taken + len(names)), "the events are taken")
    assert not ledger.crash_file.exists(), "nobody came by"
    assert [len(ledger.places(name)) for name in names] == [1] * len(names)
    ledger.assert_whole()


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("ledger.")])
@pytest.mark.parametrize("role", ROLES)
def test_a_lost_answer_adds_nothing_twice(ledger: LedgerUnderTest, role: str, point: str) -> None:
    names = [uuid.uuid4().hex for _ in range(20)]
    ledger.arm(point)
    answers = ledger.append(role, names)
    assert not ledger.crash_file.exists(), "nobody came by"
    assert {answer["repeated"] for answer in answers} == {point == "ledger.committed"}
    for name, answer in zip(names, answers, strict=True):
        assert ledger.places(name) == [answer["index"]]
        assert verify_receipt(parse_receipt(json.dumps(answer["proof"])), ledger.key).index == answer["index"]
    ledger.assert_whole()


def test_two_processes_one_of_them_killed_never_fork(ledger: LedgerUnderTest) -> None:
    names = [f"{uuid.uuid4().hex}-{number}" for number in range(60)]
    seen: list[Checkpoint] = []

    def append(number: int) -> dict[str, Any]:
        (answer,) = ledger.append(ROLES[number % 2], [names[number % 45]])
        seen.append(open_checkpoint(parse_note(answer["proof"]["checkpoint"]), ledger.key))
        return answer

    with ThreadPoolExecutor(8) as callers:
        waiting = [callers.submit(append, number) for number in range(60)]
        for _ in range(2):
            ledger.stack.kill("audit_too")
            ledger.stack.start("audit_too")
        answers = [each.result() for each in waiting]
    for number, answer in enumerate(answers):
        assert ledger.places(names[number % 45]) == [answer["index"]]
    ledger.assert_whole()
    reader = LedgerReader(ledger.store)
    newest = open_checkpoint(parse_note(reader.checkpoint()), ledger.key)
    distinct = sorted({(each.size, each.root) for each in (*seen, newest)})
    assert len({size for size, _ in distinct}) == len(distinct), "two trees of one size: a fork"
    for (old, old_root), (new, new_root) in itertools.pairwise(distinct):
        verify_consistency(old, new, reader.consistency(old, new), old_root, new_root)


def test_an_event_is_known_again_by_a_process_that_has_forgotten_it(ledger: LedgerUnderTest) -> None:
    old, taken = uuid.uuid4().hex, ledger.acked
    ledger.publish(old)
    eventually(lambda: ledger.delivered(taken + 1), "the event is taken")
    for _ in range(2):
        ledger.append("audit_too", [uuid.uuid4().hex for _ in range(300)])
    ledger.stack.restart("audit")
    ledger.publish(old)
    eventually(lambda: ledger.delivered(taken + 2), "the event is taken again")
    assert len(ledger.places(old)) == 1


def test_the_key_and_the_ledger_outlive_every_process(ledger: LedgerUnderTest) -> None:
    before = ledger.call("GET", "audit", "/key").data
    for role in ROLES:
        ledger.stack.restart(role)
    assert ledger.call("GET", "audit_too", "/key").data == before
    assert parse_verifier_key(before.decode().strip()) == ledger.key
    key_file = ledger.crash_file.parent / ".mesh" / "unkept" / "ledger-key"
    assert key_file.stat().st_mode & 0o077 == 0
