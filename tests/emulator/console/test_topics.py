from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.errors import EmulatorError
from emulator.identities import Identities
from emulator.routes import routes
from emulator.topology import load_topology
from tests.emulator.console.conftest import Bus, Caller, Start


def listed(caller: Caller) -> Any:
    return {topic["id"]: topic["subscriptions"] for topic in caller.get("/_local/topics").json["topics"]}


def test_topics_with_their_subscriptions(caller: Caller, bus: Bus) -> None:
    bus.create("work", "one", "two")
    bus.create("quiet")
    found = listed(caller)
    assert list(found) == ["quiet", "work"]
    assert found["quiet"] == []
    assert [each["id"] for each in found["work"]] == ["one", "two"]
    assert found["work"][0] == {
        "name": f"projects/{caller.project}/subscriptions/one",
        "id": "one",
        "filter": "",
        "pushEndpoint": "",
        "deadLetterTopic": "",
        "ordered": False,
        "detached": False,
        "deliveries": None,
    }


def test_what_a_bridge_delivers_is_shown_as_declared(start: Start, caller: Caller, bus: Bus, roles_file: Path) -> None:
    bus.create("work", "work-alpha")
    declared = routes(load_topology(roles_file), Identities(caller.project), {"alpha": "http://alpha"})
    other = start(project=caller.project, routes=declared, deliveries=lambda: {"work-alpha": {"pushed": 3}})
    (shown,) = listed(other)["work"]
    assert shown["filter"] == 'attributes.agent = "alpha"'
    assert shown["pushEndpoint"] == "http://alpha/push"
    assert shown["deadLetterTopic"] == "work-dead"
    assert shown["deliveries"] == {"pushed": 3}


def test_topics_are_shown_while_nobody_can_count(start: Start, caller: Caller, bus: Bus) -> None:
    def nobody() -> Mapping[str, Mapping[str, int]]:
        raise EmulatorError("restarting")

    bus.create("work", "one")
    (shown,) = listed(start(project=caller.project, deliveries=nobody))["work"]
    assert shown["deliveries"] is None
