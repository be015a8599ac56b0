"""Who may publish on a topic and read it."""

from __future__ import annotations

import json

import pytest
from pytest_mock import MockerFixture

from agent_mesh.contracts.problems import TopicDenied, Unavailable
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.settings import Settings
from agent_mesh.policy import Policy, Refusal, packaged_bundle
from agent_mesh.relay import parse_patterns
from agent_mesh.relay.permissions import Action, TopicPermissions
from tests.conftest import HandClock, RecordingPublisher

CALLER, OPERATOR, NOBODY = "caller@example.com", "operator@example.com", "nobody@example.com"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(packaged_bundle("mesh"))


@pytest.fixture
def events(publisher: RecordingPublisher, clock: HandClock) -> EventLog:
    log = EventLog(publisher, "events", "relay", clock)
    log.begin()
    return log


@pytest.fixture
def permissions(policy: Policy, events: EventLog) -> TopicPermissions:
    settings = Settings.from_environment({"MESH_CALLERS": f"Caller@Example.com,{OPERATOR}", "MESH_OPERATORS": OPERATOR})
    return TopicPermissions(policy, settings, events)


@pytest.mark.parametrize(
    ("who", "action", "topic", "allowed"),
    [
        (CALLER, Action.PUBLISH, "access.intent", True),
        (CALLER.upper(), Action.PUBLISH, "access.intent", True),
        (CALLER, Action.SUBSCRIBE, "**", True),
        (CALLER, Action.SUBSCRIBE, "mesh.**", False),
        (CALLER, Action.PUBLISH, "mesh.access.decided", False),
        (OPERATOR, Action.SUBSCRIBE, "mesh.**", True),
        (OPERATOR, Action.PUBLISH, "mesh.access.decided", False),
        (NOBODY, Action.SUBSCRIBE, "access.intent", False),
        ("\u212aaller@example.com", Action.SUBSCRIBE, "a", False),
    ],
)
def test_the_rules_decide_by_group_action_and_topic(
    permissions: TopicPermissions, who: str, action: Action, topic: str, allowed: bool
) -> None:
    if allowed:
        permissions.require(who, action, [topic])
    else:
        with pytest.raises(TopicDenied):
            permissions.require(who, action, [topic])


def test_a_denial_is_an_event_with_its_reasons_and_each_one_is_another(
    permissions: TopicPermissions, events: EventLog, publisher: RecordingPublisher
) -> None:
    for _ in range(2):
        with pytest.raises(TopicDenied, match="topic_reserved_for_the_mesh"):
            permissions.require_patterns(CALLER, parse_patterns(["a", "mesh.*"]))
    events.flush()
    told = [json.loads(message.data) for message in publisher.on("events")]
    assert len({event["id"] for event in told}) == 2
    assert told[0]["type"] == "mesh.relay.denied"
    assert told[0]["subject"] == "mesh.*"
    assert told[0]["data"]["caller"] == CALLER
    assert told[0]["data"]["reasons"] == ["topic_reserved_for_the_mesh"]
    assert told[0]["data"]["digest"].startswith("sha256:")


def test_what_a_stream_leaves_out_is_no_event(
    permissions: TopicPermissions, events: EventLog, publisher: RecordingPublisher
) -> None:
    may_read = permissions.readable(CALLER)
    assert [may_read("a"), may_read("mesh.a"), may_read("mesh.a")] == [True, False, False]
    events.flush()
    assert publisher.on("events") == []


def test_the_same_question_is_decided_once_a_minute(
    permissions: TopicPermissions, policy: Policy, mocker: MockerFixture
) -> None:
    decided = mocker.spy(policy, "decide")
    for _ in range(3):
        permissions.require(CALLER, Action.PUBLISH, ["a.b"])
        permissions.readable(CALLER)("a.b")
    assert decided.call_count == 2


def test_an_engine_without_time_is_no_denial_and_is_asked_again(
    permissions: TopicPermissions, policy: Policy, mocker: MockerFixture
) -> None:
    busy = policy.decide("relay", {}).model_copy(update={"reasons": (str(Refusal.OVERLOADED),)})
    mocker.patch.object(policy, "decide", return_value=busy)
    with pytest.raises(Unavailable):
        permissions.require(CALLER, Action.PUBLISH, ["a"])
    with pytest.raises(Unavailable):
        permissions.readable(CALLER)("a")
    mocker.stopall()
    permissions.require(CALLER, Action.PUBLISH, ["a"])
