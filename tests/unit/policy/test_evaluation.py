"""What is told of a decision is what was answered, however often the same is asked."""

from __future__ import annotations

import json
from typing import Any

from pydantic import JsonValue

from agent_mesh.contracts.policy import AccessIntent
from agent_mesh.platform.events import EventLog
from agent_mesh.policy import Decision, Policy, packaged_bundle
from agent_mesh.policy.engine import Engine
from agent_mesh.policy.evaluation import AccessDecisions
from tests.conftest import HandClock, RecordingPublisher
from tests.policies import INTENT


class Interrupted:
    """The mesh's policy, which has no time at first."""

    def __init__(self) -> None:
        bundle = packaged_bundle("mesh")
        self.policy = Policy(bundle, Engine(bundle, timeout_s=0))

    def decide(self, kind: str, value: JsonValue) -> Decision:
        """Decide."""
        return self.policy.decide(kind, value)

    def recover(self) -> None:
        """Have time from now on."""
        self.policy.close()
        self.policy = Policy(packaged_bundle("mesh"))


def test_an_allow_after_a_want_of_time_is_another_event_than_the_denial(clock: HandClock) -> None:
    policy, publisher = Interrupted(), RecordingPublisher()
    decisions = AccessDecisions(policy, EventLog(publisher, "projects/p/topics/events", "policy", clock), clock)
    intent = AccessIntent.model_validate({"tx_id": "tx-1", **INTENT})
    denied = decisions.evaluate(intent, "ann@example.com")
    policy.recover()
    allowed = [decisions.evaluate(intent, "ann@example.com") for _ in range(2)]
    policy.policy.close()
    assert (denied.decision, {each.decision for each in allowed}) == ("deny", {"allow"})
    assert denied.digest == allowed[0].digest
    told: dict[str, Any] = {}
    for message in publisher.on("events"):
        event = json.loads(message.data)
        if event["type"] == "mesh.access.decided":
            told.setdefault(event["id"], event["data"]["decision"])
    assert sorted(told.values()) == ["allow", "deny"]
