"""`docs/data-model.md` names exactly the fields that the code stores, and each has an index setting."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from agent_mesh.contracts.tasks import DispatchRequest
from agent_mesh.dispatch.admission import Terms, new_task

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "shared" / "agent_mesh"
PAGE = (ROOT / "docs" / "data-model.md").read_text(encoding="utf-8")
DECLARED = json.loads((ROOT / "infra" / "firestore.indexes.json").read_text())
COLLECTIONS = {
    "runs": (["agents/runs.py", "agents/records.py"], {"at", "message", "percent"}),
    "budgets": (["budgets/store.py"], set()),
    "agents": (["agents/control.py"], set()),
    "dead": (["deadletters/store.py"], {"__name__"}),
    "policy_versions": (["policy/versions.py"], set()),
    "policy_switches": (["policy/switch.py"], set()),
    "ledger": (["ledger/store.py", "ledger/cosigned.py"], {"__name__"}),
    "relay_messages": (["relay/history.py"], set()),
    "relay_keys": (["relay/keys.py"], set()),
    "relay_topics": (["relay/topic_list.py"], set()),
    "relay_tickets": (["relay/tickets.py"], set()),
    "relay_presence": (["relay/presence.py"], set()),
}
"""Modules whose dict displays are the documents of a collection, and the keys among them that are no fields of it."""


def documented(collection: str) -> set[str]:
    section = PAGE.partition(f"\n## {collection}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))


def written(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    keys = {key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def test_the_fields_of_a_task_are_those_of_its_document() -> None:
    request = DispatchRequest(agent="light", payload={}, ttl=4e9, budget_cents=5)
    task = new_task(request, "a@example.com", "", 3e9, Terms(5, 60, 30))
    assert documented("tasks") == {*task.to_document(), "acceptedAt"}


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_the_fields_of_a_collection_are_those_that_the_code_writes(collection: str) -> None:
    modules, others = COLLECTIONS[collection]
    stored = {field for module in modules for field in written(module)} - others
    assert documented(collection) == stored


@pytest.mark.parametrize("collection", ["tasks", *COLLECTIONS])
def test_every_field_says_whether_it_is_indexed(collection: str) -> None:
    settings = {each["fieldPath"] for each in DECLARED["fieldOverrides"] if each["collectionGroup"] == collection}
    assert settings == documented(collection)


def test_every_collection_of_the_code_is_documented() -> None:
    declared = {
        match.group(1)
        for path in PACKAGE.rglob("*.py")
        for match in re.finditer(r'^COLLECTION: Final = "(\w+)"', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert declared == {"tasks", *COLLECTIONS}


def test_fields_that_may_be_large_are_never_indexed() -> None:
    exempt = {
        (each["collectionGroup"], each["fieldPath"]) for each in DECLARED["fieldOverrides"] if not each["indexes"]
    }
    large = {("tasks", "payload"), ("tasks", "result"), ("runs", "result"), ("runs", "progress"), ("dead", "data")}
    large |= {("ledger", "held"), ("relay_messages", "payload"), ("policy_versions", "bundle")}
    large |= {("ledger", "held"), ("relay_messages", "payload"), ("relay_presence", "streams")}
    assert large <= exempt
