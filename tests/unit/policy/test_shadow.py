from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent_mesh.platform.events import EventLog
from agent_mesh.policy import Bundle, Engine, Manifest, Policy
from agent_mesh.policy.shadow import EVENTS_A_MINUTE, REST_S, Shadow
from tests.conftest import HandClock, RecordingPublisher

ALLOWS = '{"allow": true, "reasons": [], "obligations": {}, "policy_ref": "p.rego#allow"}'
DENIES = '{"allow": false, "reasons": ["no"], "obligations": {}, "policy_ref": "p.rego#allow"}'
SLOW = "count([1 | some x in numbers.range(1, 500); some y in numbers.range(1, 500); x + y == 3]) > 0"


def policy_of(rule: str, timeout_s: float = 20.0) -> Policy:
    manifest = Manifest(release="1.0.0", decisions={"trial": "p/decision"})
    bundle = Bundle(name="trial", manifest=manifest, modules={"p.rego": f"package p\n\ndecision := {rule}\n"})
    return Policy(bundle, Engine(bundle, workers=1, timeout_s=timeout_s))


class World:
    def __init__(self, clock: HandClock, publisher: RecordingPublisher) -> None:
        self.clock, self.publisher = clock, publisher
        self.events = EventLog(publisher, "events", "policy", clock)
        self.events.begin()
        self.in_force = policy_of(ALLOWS)
        self.opened = [self.in_force]

    def shadow(self, rule: str, timeout_s: float = 20.0) -> Shadow:
        self.opened.append(policy_of(rule, timeout_s))
        return Shadow("sha256:s", self.opened[-1], self.clock, self.events)

    def ask(self, shadow: Shadow, value: Any) -> None:
        shadow.compare(self.in_force.decide("trial", value), value)

    def told(self) -> list[dict[str, Any]]:
        self.events.flush()
        return [json.loads(message.data) for message in self.publisher.on("events")]


@pytest.fixture
def world(clock: HandClock, publisher: RecordingPublisher) -> Iterator[World]:
    world = World(clock, publisher)
    yield world
    for policy in world.opened:
        policy.close()


def test_the_same_decision_is_no_difference(world: World) -> None:
    world.ask(world.shadow(ALLOWS.replace("p.rego#allow", "q.rego#other")), {})
    assert world.told() == []


@pytest.mark.parametrize("rule", [DENIES, ALLOWS.replace("{}", '{"timebox": 1}'), "7", "input.nothing"])
def test_whatever_has_another_effect_is_a_difference(world: World, rule: str) -> None:
    world.ask(world.shadow(rule), {"n": 1})
    (event,) = world.told()
    assert event["type"] == "mesh.policy.differs"
    assert event["subject"] == event["data"]["digest"] == world.in_force.decide("trial", {"n": 1}).digest
    assert event["data"]["in_force"]["decision"] == "allow"
    assert event["data"]["in_shadow"]["policy_version"] != event["data"]["in_force"]["policy_version"]


def test_the_same_difference_is_the_same_event(world: World) -> None:
    shadow = world.shadow(DENIES)
    for n in (1, 1, 2):
        world.ask(shadow, {"n": n})
    assert len({event["id"] for event in world.told()}) == 2


def test_differences_are_bounded_in_a_minute_and_the_rest_is_counted(world: World) -> None:
    shadow = world.shadow(DENIES)
    for n in range(EVENTS_A_MINUTE + 7):
        world.ask(shadow, {"n": n})
    assert len(world.told()) == EVENTS_A_MINUTE
    world.clock.advance(60)
    world.ask(shadow, {"n": -1})
    assert world.told()[-1]["data"]["suppressed"] == 7


def test_a_shadow_that_is_too_slow_rests(world: World) -> None:
    shadow = world.shadow(f"{SLOW}", timeout_s=0.05)
    world.ask(shadow, {})
    (event,) = world.told()
    assert event["data"]["in_shadow"]["reasons"] == ["policy_timed_out"]
    for n in range(5):
        world.ask(shadow, {"n": n})
    assert len(world.told()) == 1
    world.clock.advance(REST_S + 1)
    world.ask(shadow, {"n": 9})
    assert len(world.told()) == 2
