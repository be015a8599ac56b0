"""The roles of the main flow on one stack: relay, policy, audit, an agent, and the dashboard that shows it all."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Final

import pytest

from emulator.stack import LocalStack, StackOptions
from tests.contract.dashboard.browser import Browser
from tests.contract.roles import DEPLOYED

ROLES: Final = ("relay", "policy", "audit", "dashboard", "orchestrator", "agent_light")


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """What the main flow needs, and one agent."""
    place = tmp_path_factory.mktemp("dashboard")
    document = copy.deepcopy(DEPLOYED)
    document["roles"] = {name: document["roles"][name] for name in ROLES}
    document["agents"] = {"light": document["agents"]["light"]}
    kept = {name: one for name, one in document["subscriptions"].items() if one["push"]["role"] in ROLES}
    document["subscriptions"] = kept
    document["schedules"] = {name: one for name, one in document["schedules"].items() if one["role"] in ROLES}
    document["local"] |= {"schedules": {}, "developerMayPush": False}
    document["local"]["retry"] = {"minimumBackoffSeconds": 0.05, "maximumBackoffSeconds": 0.2}
    (place / "roles.json").write_text(json.dumps(document))
    extra = {"dashboard": {"MESH_VIEWERS": "vera@example.com"}}
    options = StackOptions(state_dir=place / ".mesh", roles_file=place / "roles.json", environment=extra)
    with LocalStack(options) as running:
        yield running


@pytest.fixture
def browser(stack: LocalStack) -> Browser:
    return Browser(stack.url("dashboard"))
