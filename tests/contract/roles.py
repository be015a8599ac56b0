"""The topology of the contract tests: the deployment's own, with two test agents and shorter waits."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
DEPLOYED: Final[dict[str, Any]] = json.loads((ROOT / "infra" / "roles.json").read_bytes())
TEST_AGENTS: Final = {"actor": 2, "metered": 20}
"""Name and most a run may cost, in cents."""

NEEDED: Final = ("orchestrator", "agent_light", "digest")
"""Of the deployed roles; each of the others has a folder of tests with a stack of its own."""

ROLES: Final = (*NEEDED, *TEST_AGENTS)
ATTEMPTS: Final = 5
"""Deliveries until a message is a dead letter."""

STALENESS_SECONDS: Final = 0.2
"""How long a test agent may not know that it was paused."""

WEBHOOK_SECRET: Final = str(DEPLOYED["local"]["environment"]["WEBHOOK_SECRETS"])
OTHER_CALLER_ROLE: Final = "digest"
"""Its service account is a second caller, who is no operator."""


def roles_document(callback_host: str) -> dict[str, Any]:
    """Return infra/roles.json with the test agents added. `callback_host` is the one host:port callbacks may reach."""
    document = copy.deepcopy(DEPLOYED)
    _keep_needed(document)
    for name, cents in TEST_AGENTS.items():
        _add_agent(document, name, cents)
    # More names for functions that run already: `miser` has a budget of its own, `dearer` costs more than announced.
    document["agents"] |= {
        "miser": {"role": "actor", "maxCostCents": TEST_AGENTS["actor"]},
        "dearer": {"role": "metered", "maxCostCents": 1},
    }
    second = [f"role:{OTHER_CALLER_ROLE}"]
    document["roles"]["orchestrator"]["allow"]["MESH_CALLERS"] += second
    document["roles"]["actor"]["allow"]["MESH_RUNNERS"] += second
    for subscription in document["subscriptions"].values():
        if subscription["deadLetter"]:
            subscription["deadLetter"]["maxDeliveryAttempts"] = ATTEMPTS
    local = document["local"]
    local["retry"] = {"minimumBackoffSeconds": 0.05, "maximumBackoffSeconds": 0.2}
    local["schedules"]["sweep"]["everySeconds"] = 0.5
    local["environment"]["CALLBACK_ALLOWED_HOSTS"] = callback_host
    local["developerMayPush"] = False  # as it is when deployed
    return document


def _keep_needed(document: dict[str, Any]) -> None:
    document["roles"] = {name: document["roles"][name] for name in NEEDED}
    subscriptions, schedules = document["subscriptions"], document["schedules"]
    document["subscriptions"] = {name: one for name, one in subscriptions.items() if one["push"]["role"] in NEEDED}
    document["schedules"] = {name: one for name, one in schedules.items() if one["role"] in NEEDED}
    shorter = document["local"]["schedules"]
    document["local"]["schedules"] = {name: one for name, one in shorter.items() if name in document["schedules"]}


def _add_agent(document: dict[str, Any], name: str, cents: int) -> None:
    role = copy.deepcopy(document["roles"]["agent_light"])
    environment = {"MESH_CONTROL_STALENESS_SECONDS": str(STALENESS_SECONDS)}
    role |= {"source": f"tests/contract/agents/{name}", "entryPoint": name, "environment": environment}
    role["allow"]["MESH_TASK_PUSHERS"] = [f"subscription:tasks-{name}"]
    subscription = copy.deepcopy(document["subscriptions"]["tasks-light"])
    subscription |= {"filter": f'attributes.agent = "{name}"', "push": {"role": name, "path": "/pubsub/push"}}
    document["roles"][name] = role
    document["agents"][name] = {"role": name, "maxCostCents": cents}
    document["subscriptions"][f"tasks-{name}"] = subscription
