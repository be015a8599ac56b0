"""The policy in force: how old it may be, and what it does when Firestore or a version is broken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.cloud.firestore_v1.document import DocumentReference

from agent_mesh.contracts.problems import Conflict, Unavailable
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.policy import ACCESS, Bundle, packaged_bundle
from agent_mesh.policy.active import ActivePolicy
from agent_mesh.policy.acts import ACTIVATED
from agent_mesh.policy.switch import PACKAGED, PolicySwitches, Switch
from agent_mesh.policy.versions import PolicyVersions
from tests.conftest import HandClock, RecordingPublisher
from tests.policies import INTENT, risk_limit

STALENESS_S = 10.0
A, B = (f"sha256:{digit * 64}" for digit in "ab")


class World:
    """A mesh's Firestore, one instance's policy, and the operator's hand."""

    def __init__(self, database: FirestoreClient, clock: HandClock, publisher: RecordingPublisher) -> None:
        self.database, self.clock, self.publisher = database, clock, publisher
        self.events = EventLog(publisher, "events", "policy", clock)
        self.events.begin()
        self.versions = PolicyVersions(database, clock)
        self.switches = PolicySwitches(database, clock, "mesh")
        self.policy = self.instance()

    def instance(self, database: FirestoreClient | None = None) -> ActivePolicy:
        return ActivePolicy(database or self.database, self.clock, self.events, STALENESS_S)

    def store(self, bundle: Bundle) -> str:
        return self.versions.put(bundle, 1, "ann@example.com").version

    def throw(self, **changes: Any) -> Switch:
        before = self.switches.read(patience_s=10)
        after = Switch(**({"active": before.active, "shadow": before.shadow, "previous": before.previous} | changes))
        return self.switches.throw(before, after, "ann@example.com", ACTIVATED)

    def deciding(self) -> str:
        return self.policy.decide(ACCESS, INTENT).policy_version

    def later(self) -> None:
        self.clock.advance(STALENESS_S + 0.001)

    def document(self, collection: str, name: str) -> Any:
        return self.database.collection(collection).document(name.removeprefix("sha256:"))

    def differences(self) -> list[Any]:
        self.events.flush()
        return [message for message in self.publisher.on("events") if message.attributes["type"].endswith("differs")]


@pytest.fixture
def world(database: FirestoreClient, clock: HandClock, publisher: RecordingPublisher) -> World:
    return World(database, clock, publisher)


@pytest.fixture
def packaged() -> str:
    return packaged_bundle("mesh").version


def unreachable(monkeypatch: pytest.MonkeyPatch) -> FirestoreClient:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    return FirestoreClient("nowhere")


def test_the_packaged_bundle_decides_until_another_is_named(world: World, packaged: str) -> None:
    assert world.deciding() == packaged


def test_another_version_decides_after_the_staleness_and_not_before(world: World, packaged: str) -> None:
    assert world.deciding() == packaged
    version = world.store(risk_limit(30))
    world.throw(active=version)
    world.clock.advance(STALENESS_S - 0.001)
    assert world.deciding() == packaged
    world.clock.advance(0.002)
    assert world.deciding() == version
    world.throw(active=PACKAGED)
    world.later()
    assert world.deciding() == packaged


def test_a_new_instance_begins_with_what_is_in_force(world: World) -> None:
    version = world.store(risk_limit(30))
    world.throw(active=version)
    assert world.deciding() == version


def test_an_instance_that_cannot_find_out_what_is_in_force_decides_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, packaged: str
) -> None:
    blind = world.instance(unreachable(monkeypatch))
    with pytest.raises(Unavailable):
        blind.decide(ACCESS, INTENT)
    monkeypatch.undo()
    assert world.deciding() == packaged


def test_threads_that_wait_for_the_first_look_fail_with_it_and_do_not_queue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = world.instance(unreachable(monkeypatch))

    def ask(_: int) -> bool:
        try:
            blind.decide(ACCESS, INTENT)
        except Unavailable:
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))


def test_what_is_known_stays_in_force_while_firestore_cannot_be_read(world: World) -> None:
    version = world.store(risk_limit(30))
    world.throw(active=version)
    assert world.deciding() == version
    world.document("policy_switches", "mesh").update({"active": "a/b"})  # the client cannot be cut off; this is as bad
    world.later()
    assert world.deciding() == version
    world.document("policy_switches", "mesh").delete()
    assert world.deciding() == version, "it asks again only after the staleness"
    world.later()
    assert world.deciding() != version


@pytest.mark.parametrize("broken", ["missing", "forged", "no bundle", "unfit"])
def test_a_version_that_cannot_be_loaded_never_replaces_one_that_works(
    world: World, packaged: str, broken: str
) -> None:
    assert world.deciding() == packaged
    bundle = risk_limit(30)
    if broken == "unfit":
        modules = bundle.modules | {"access.rego": "package mesh.access\n\nallow := opa.runtime()\n"}
        bundle = bundle.model_copy(update={"modules": modules})
    version = world.store(bundle)
    document = world.document("policy_versions", version)
    if broken == "missing":
        document.delete()
    if broken == "forged":
        document.update({"bundle": document.get().get("bundle").replace("risk_limit := 30", "risk_limit := 99")})
    if broken == "no bundle":
        document.update({"bundle": "{}"})
    world.throw(active=version)
    for _ in range(2):
        world.later()
        assert world.deciding() == packaged
    with pytest.raises(Unavailable):
        world.instance().decide(ACCESS, INTENT)
    if broken != "unfit":
        world.store(bundle)
        world.throw(active=version)  # thrown again, it is tried again
        world.later()
        assert world.deciding() == version


def test_the_switch_is_read_once_in_an_interval_however_many_ask(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    get = DocumentReference.get

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        looked.append(self.path)
        return get(self, *arguments, **options)

    monkeypatch.setattr(DocumentReference, "get", counted)
    for _ in range(3):
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: world.deciding(), range(40)))
        world.later()
    assert looked == ["policy_switches/mesh"] * 3


def test_threads_that_ask_during_a_change_get_one_version_or_the_other_whole(world: World, packaged: str) -> None:
    assert world.deciding() == packaged
    version = world.store(risk_limit(30))
    world.throw(active=version)

    def ask(n: int) -> tuple[str, bool]:
        if n == 20:
            world.later()
        decision = world.policy.decide(ACCESS, INTENT)
        return decision.policy_version, decision.allow

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(ask, range(100)))
    assert answers == {(packaged, True), (version, False)}


def test_a_shadow_tells_differences_and_decides_nothing(world: World, packaged: str) -> None:
    world.throw(shadow=world.store(risk_limit(30)))
    decision = world.policy.decide(ACCESS, INTENT)
    assert (decision.allow, decision.policy_version) == (True, packaged)
    assert len(world.differences()) == 1


def test_a_shadow_that_cannot_be_loaded_changes_nothing(world: World, packaged: str) -> None:
    version = world.store(risk_limit(30))
    world.document("policy_versions", version).delete()
    world.throw(shadow=version)
    assert world.deciding() == packaged
    world.later()
    assert world.deciding() == packaged
    assert world.differences() == []


def test_of_two_that_throw_the_switch_one_is_told_so(world: World) -> None:
    before = world.switches.read(patience_s=10)
    world.switches.throw(before, before.activated(A), "ann@example.com", ACTIVATED)
    with pytest.raises(Conflict):
        world.switches.throw(before, before.activated(B), "bob@example.com", ACTIVATED)
    now = world.switches.read(patience_s=10)
    assert (now.active, now.previous, now.revision, now.changed_by) == (A, (PACKAGED,), 1, "ann@example.com")


def test_a_rollback_goes_back_step_by_step_and_no_further() -> None:
    switch = Switch().activated("sha256:a").activated("sha256:b").activated("sha256:b")
    assert switch.previous == (PACKAGED, "sha256:a")
    back = switch.rolled_back().rolled_back()
    assert (back.active, back.previous) == (PACKAGED, ())
    with pytest.raises(Conflict):
        back.rolled_back()


def test_a_version_in_force_is_not_its_own_shadow() -> None:
    switch = Switch().shadowed("sha256:a").activated("sha256:a")
    assert switch.shadow is None
    with pytest.raises(Conflict):
        switch.shadowed("sha256:a")
