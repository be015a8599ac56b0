"""`infra/firestore.indexes.json` serves every query that the code makes, and nothing that it indexes is useless."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.cloud.firestore_v1.aggregation import AggregationQuery
from google.cloud.firestore_v1.base_document import DocumentSnapshot
from google.cloud.firestore_v1.document import DocumentReference
from google.cloud.firestore_v1.query import Query
from pytest_mock import MockerFixture

from agent_mesh.agents.control import AgentControls
from agent_mesh.agents.runs import RunStore
from agent_mesh.budgets import Budgets, Reservation
from agent_mesh.contracts.tasks import DispatchRequest, TaskStatus
from agent_mesh.deadletters.store import DeadFilter, DeadLetters
from agent_mesh.dispatch.admission import Terms, new_task
from agent_mesh.dispatch.store import TaskFilter, TaskStore
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.platform.clock import SystemClock
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.policy.versions import PolicyVersions
from agent_mesh.relay import History, TopicPattern
from agent_mesh.relay.presence import PresenceBoard

ROOT = Path(__file__).resolve().parents[3]
DECLARED = json.loads((ROOT / "infra" / "firestore.indexes.json").read_text())
Order = tuple[tuple[str, str], ...]
EXPIRING = (
    "tasks",
    "runs",
    "budgets",
    "dead",
    "relay_messages",
    "relay_keys",
    "relay_topics",
    "relay_tickets",
    "relay_presence",
)


@dataclass(frozen=True)
class Asked:
    """What a query needs of indexes: fields that are equal, then fields in order; `__name__` is in every index.

    `contained` are lists that are asked for one of their values.
    """

    collection: str
    equal: frozenset[str]
    ordered: Order
    contained: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Stores:
    tasks: TaskStore
    runs: RunStore
    controls: AgentControls
    dead: DeadLetters
    messages: History
    ledger: LedgerStore
    policies: PolicyVersions
    presence: PresenceBoard


def asked(structured: Any, summed: str = "") -> Asked:
    filters = [each.field_filter for each in structured.where.composite_filter.filters]
    if structured.where.field_filter.field.field_path:
        filters.append(structured.where.field_filter)
    equal = {each.field.field_path for each in filters if each.op.name == "EQUAL"}
    contained = {each.field.field_path for each in filters if each.op.name.startswith("ARRAY_CONTAINS")}
    ranged = {each.field.field_path for each in filters} - equal - contained
    order = [(each.field.field_path, each.direction.name) for each in structured.order_by]
    order += [(field, "ASCENDING") for field in ranged if field not in dict(order)]
    order += [(summed, "ASCENDING")] if summed else []
    return Asked(
        structured.from_[0].collection_id,
        frozenset(equal),
        tuple(each for each in order if each[0] != "__name__"),
        frozenset(contained),
    )


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    database, clock = FirestoreClient("none"), SystemClock()
    budgets = Budgets(database, 0)
    return Stores(
        TaskStore(database, budgets, clock),
        RunStore(database, budgets, clock, 60.0, 30),
        AgentControls(database, clock, 0.0),
        DeadLetters(database, clock, 30),
        History(database, clock),
        LedgerStore(database),
        PolicyVersions(database, clock),
        PresenceBoard(database, clock, "relay_1"),
    )


@pytest.fixture
def queries(mocker: MockerFixture) -> list[Asked]:
    """What was asked of Firestore instead of asking it."""
    seen: list[Asked] = []

    def query(self: Any, **_: object) -> list[object]:
        seen.append(asked(self._to_protobuf()))
        return []

    def aggregation(self: Any, **_: object) -> list[list[object]]:
        structured = self._to_protobuf()
        seen.append(asked(structured.structured_query, structured.aggregations[0].sum.field.field_path))
        return [[SimpleNamespace(value=0)]]

    def document(self: Any, *_: object, **__: object) -> DocumentSnapshot[Any]:
        return DocumentSnapshot(self, {"acceptedAt": datetime.now(UTC)}, True, None, None, None)

    mocker.patch.object(Query, "get", query)
    mocker.patch.object(AggregationQuery, "get", aggregation)
    mocker.patch.object(DocumentReference, "get", document)
    return seen


def subsets(filter_type: type, values: Mapping[str, object]) -> Iterator[Any]:
    assert {each.name for each in fields(filter_type)} == set(values), "give the test a value for the new filter"
    for size in range(len(values) + 1):
        for chosen in combinations(values, size):
            yield filter_type(**{name: values[name] for name in chosen})


def list_tasks(stores: Stores) -> None:
    values = {"caller": "a@example.com", "agent": "light", "status": TaskStatus.ACCEPTED, "idempotency_key": "k"}
    for wanted in subsets(TaskFilter, values):
        stores.tasks.page(wanted, None, 10)


def list_dead(stores: Stores) -> None:
    values = {"agent": "light", "reason": "crashed", "task_id": "task_1", "after": (datetime.now(UTC), "dead_1")}
    for wanted in subsets(DeadFilter, values):
        stores.dead.page(wanted, 10)


def held_after(stores: Stores) -> None:
    request = DispatchRequest(agent="light", payload={}, ttl=4e9, budget_cents=5)
    task = new_task(request, "a@example.com", "", 3e9, Terms(5, 60, 30))
    assert isinstance(task.reservation, Reservation)
    stores.tasks.reserved_after(task)


def read_messages(stores: Stores) -> None:
    stores.messages.latest("tasks.a")
    stores.messages.since("tasks.a", 1)
    stores.messages.find("tasks.a", 1)


def list_topics(stores: Stores) -> None:
    for pattern in ("**", "tasks.*"):
        stores.messages.topics(TopicPattern(pattern))


QUERIES: dict[str, Callable[[Stores], object]] = {
    "TaskStore.page": list_tasks,
    "TaskStore.due": lambda stores: stores.tasks.due(10),
    "TaskStore.next_due": lambda stores: stores.tasks.next_due(),
    "TaskStore.reserved_after": held_after,
    "RunStore.parked": lambda stores: stores.runs.parked("light", 10),
    "RunStore.free_abandoned": lambda stores: stores.runs.free_abandoned(10),
    "AgentControls.releasing": lambda stores: stores.controls.releasing(),
    "DeadLetters.page": list_dead,
    "PolicyVersions.newest": lambda stores: stores.policies.newest(10),
    "History._newest": read_messages,
    "History.oldest": lambda stores: stores.messages.oldest("tasks.a", 1),
    "TopicList.matching": list_topics,
    "LedgerStore.places": lambda stores: stores.ledger.places(["ev_1"]),
    "LedgerStore.bundles_of": lambda stores: stores.ledger.bundles_of("task_1", 0, 4),
    "TopicList.names": lambda stores: list(stores.messages.topic_names("")),
    "PresenceBoard.elsewhere": lambda stores: stores.presence.elsewhere("tasks.a"),
}


def composites(collection: str) -> list[Order]:
    return [
        tuple((each["fieldPath"], each["order"]) for each in index["fields"])
        for index in DECLARED["indexes"]
        if index["collectionGroup"] == collection
    ]


def single_field(collection: str, field: str) -> set[str]:
    """Return the orders in which a field is indexed by itself: both, unless an override says less."""
    for override in DECLARED["fieldOverrides"]:
        if (override["collectionGroup"], override["fieldPath"]) == (collection, field):
            return {each.get("order") or each["arrayConfig"] for each in override["indexes"]}
    return {"ASCENDING", "DESCENDING", "CONTAINS"}


def serving(query: Asked) -> list[Order]:
    """Return the composite indexes that serve a query: they end in its order, after some of its equal fields."""
    found = []
    for index in composites(query.collection):
        prefix = index[: len(index) - len(query.ordered)]
        if index[len(prefix) :] == query.ordered and prefix and {field for field, _ in prefix} <= query.equal:
            found.append(index)
    return found


def served(query: Asked) -> bool:
    if query.contained:  # none is asked for together with anything else
        alone = len(query.contained) == 1 and not query.equal and not query.ordered
        return alone and "CONTAINS" in single_field(query.collection, next(iter(query.contained)))
    if len(query.equal) + len(query.ordered) == 1:
        if query.ordered:
            return query.ordered[0][1] in single_field(query.collection, query.ordered[0][0])
        return bool(single_field(query.collection, next(iter(query.equal))))
    covered = {field for index in serving(query) for field, _ in index[: len(index) - len(query.ordered)]}
    return covered == query.equal


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_served_by_the_declared_indexes(name: str, stores: Stores, queries: list[Asked]) -> None:
    QUERIES[name](stores)
    assert queries
    assert [query for query in queries if not served(query)] == []


def test_every_composite_index_serves_a_query(stores: Stores, queries: list[Asked]) -> None:
    for ask in QUERIES.values():
        ask(stores)
    needed = {(query.collection, index) for query in queries for index in serving(query)}
    declared = {
        (each["collectionGroup"], index)
        for each in DECLARED["indexes"]
        for index in composites(each["collectionGroup"])
    }
    assert declared == needed


def test_a_single_field_index_that_is_kept_serves_a_query(stores: Stores, queries: list[Asked]) -> None:
    for ask in QUERIES.values():
        ask(stores)
    alone = {(query.collection, field) for query in queries for field, _ in query.ordered}
    alone |= {(query.collection, field) for query in queries for field in query.equal if not query.ordered}
    alone |= {(query.collection, field) for query in queries for field in query.contained}
    kept = {(each["collectionGroup"], each["fieldPath"]) for each in DECLARED["fieldOverrides"] if each["indexes"]}
    assert kept <= alone


def test_a_query_without_its_index_is_noticed() -> None:
    assert not served(Asked("tasks", frozenset({"traceId"}), (("createdAt", "DESCENDING"),)))
    assert not served(Asked("tasks", frozenset(), (("updatedAt", "DESCENDING"),)))
    assert not served(Asked("tasks", frozenset({"agent"}), (("createdAt", "ASCENDING"),)))
    assert not served(Asked("ledger", frozenset(), (), frozenset({"held"})))
    assert not served(Asked("ledger", frozenset({"size"}), (), frozenset({"txIds"})))


def test_every_function_that_queries_is_tested_and_documented() -> None:
    found = set()
    for path in (ROOT / "shared" / "agent_mesh").rglob("*.py"):
        for owner in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(owner, ast.ClassDef):
                found |= {f"{owner.name}.{name}" for name in querying(owner)}
    assert found == set(QUERIES)
    page = (ROOT / "docs" / "data-model.md").read_text(encoding="utf-8")
    assert [name for name in QUERIES if f"`{name}`" not in page] == []


def querying(owner: ast.ClassDef) -> Iterator[str]:
    """Yield the methods of a class that build a query."""
    for method in owner.body:
        calls = [
            each.func.attr
            for each in ast.walk(method)
            if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)
        ]
        if isinstance(method, ast.FunctionDef) and {"where", "order_by"} & set(calls):
            yield method.name


def test_every_expiring_collection_has_a_ttl_policy() -> None:
    policies = {each["collectionGroup"]: each["fieldPath"] for each in DECLARED["fieldOverrides"] if each.get("ttl")}
    assert policies == dict.fromkeys(EXPIRING, "expireAt")
