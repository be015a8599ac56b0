"""Policy on the way of a task: asked before anything is reserved, and kept with the task."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from agent_mesh.contracts.problems import AgentUnknown, IdempotencyConflict, PolicyDenied, TtlExpired, Unavailable
from agent_mesh.contracts.tasks import ReplayRequest, TaskStatus
from agent_mesh.dispatch.story import explain
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.policy import DISPATCH, Policy, packaged_bundle
from agent_mesh.policy.acts import ACTIVATED
from agent_mesh.policy.switch import PolicySwitches, Switch
from agent_mesh.policy.versions import PolicyVersions
from tests.conftest import HandClock
from tests.policies import variant
from tests.unit.dispatch.conftest import CALLER, Mesh

STALENESS_S = 10.0
RULE = 'agent_named if {\n\tis_string(input.resource.agent)\n\tinput.resource.agent != ""'


@pytest.fixture
def forbid(mesh: Mesh, database: FirestoreClient, clock: HandClock) -> str:
    """From now on nobody may dispatch to `light`; the version that says so."""
    version = PolicyVersions(database, clock).put(
        variant("dispatch.rego", RULE, RULE.replace('!= ""', '!= "light"')), 1, "ann@example.com"
    )
    mesh.dispatch(payload={"before": True})
    PolicySwitches(database, clock, "mesh").throw(
        Switch(), Switch(active=version.version), "ann@example.com", ACTIVATED
    )
    clock.advance(STALENESS_S + 0.001)
    return version.version


def test_an_accepted_task_keeps_the_decision_that_let_it_in(mesh: Mesh) -> None:
    task = mesh.run()
    assert task.policy is not None
    assert (task.policy.ref, task.policy.reasons) == ("dispatch.rego#allow", None)
    assert task.policy.version == packaged_bundle("mesh").version
    assert mesh.task(task.task_id).policy == task.policy


def test_the_decision_can_be_made_again_from_what_the_task_shows(mesh: Mesh) -> None:
    task = mesh.orchestrator.visible(mesh.dispatch().task_id, CALLER)
    facts = explain(task, None, mesh.clock.now(), paused=False).facts
    policy = Policy(packaged_bundle("mesh"))
    again = policy.decide(DISPATCH, facts["policyInput"])
    policy.close()
    assert task.policy is not None
    assert again.allow
    assert again.digest == task.policy.digest
    assert any(task.policy.version in reason for reason in explain(task, None, 0.0, paused=False).reasons)


def test_the_events_of_a_task_name_the_decision(mesh: Mesh) -> None:
    mesh.orchestrator.results._events.begin()
    task = mesh.dispatch()
    mesh.orchestrator.results._events.flush()
    (event,) = [json.loads(message.data) for message in mesh.publisher.on("events")]
    assert task.policy is not None
    assert event["data"]["policy"]["digest"] == task.policy.digest


def test_a_denial_reserves_nothing_and_leaves_a_rejected_task(mesh: Mesh, forbid: str) -> None:
    spent = mesh.spent()
    with pytest.raises(PolicyDenied, match=r"dispatch\.rego#allow: agent_not_named") as denied:
        mesh.dispatch()
    assert mesh.spent() == spent
    assert denied.value.task_id is not None
    task = mesh.task(denied.value.task_id)
    assert (task.status, task.error and task.error.code) == (TaskStatus.REJECTED, "policy_denied")
    assert task.policy is not None
    assert (task.policy.reasons, task.policy.version) == (["agent_not_named"], forbid)


def test_a_repeat_gets_the_first_task_even_where_it_would_be_denied_by_now(
    mesh: Mesh, database: FirestoreClient
) -> None:
    first = mesh.dispatch(idempotency_key="k")
    clock, switches = mesh.clock, PolicySwitches(database, mesh.clock, "mesh")
    stricter = variant("dispatch.rego", RULE, RULE.replace('!= ""', '!= "light"'))
    version = PolicyVersions(database, clock).put(stricter, 1, "ann@example.com").version
    switches.throw(Switch(), Switch(active=version), "ann@example.com", ACTIVATED)
    clock.advance(STALENESS_S + 0.001)
    assert mesh.dispatch(idempotency_key="k").task_id == first.task_id
    with pytest.raises(IdempotencyConflict):
        mesh.dispatch(idempotency_key="k", payload={"other": True})
    with pytest.raises(PolicyDenied):
        mesh.dispatch(idempotency_key="new")
    request: dict[str, JsonValue] = {"agent": "light", "payload": {"n": 1}, "ttl": clock.now() + 60, "budgetCents": 10}
    batch: list[JsonValue] = [request | {"idempotencyKey": "k"}, request | {"idempotencyKey": "new"}, request]
    published = len(mesh.publisher.on("tasks"))
    answer = mesh.orchestrator.batch.dispatch(batch, CALLER)
    assert [one.status for one in answer.results] == [202, 403, 403]
    assert answer.results[0].task is not None
    assert answer.results[0].task.task_id == first.task_id
    assert len(mesh.publisher.on("tasks")) == published


def test_what_is_refused_anyway_is_refused_with_its_own_word(mesh: Mesh, forbid: str) -> None:
    with pytest.raises(AgentUnknown):
        mesh.dispatch(agent="nobody")
    with pytest.raises(TtlExpired):
        mesh.dispatch(ttl=mesh.clock.now() - 1)


def test_a_replay_is_asked_about_anew(mesh: Mesh, forbid: str) -> None:
    mesh.deliver_tasks()
    mesh.deliver_results()
    (task,) = mesh.orchestrator.tasks._database.collection("tasks").get()
    with pytest.raises(PolicyDenied):
        mesh.orchestrator.control.replay(mesh.orchestrator.visible(task.id, CALLER), ReplayRequest(), CALLER)


SLOW = """agent_named if {
	input.resource.agent != ""
	not endless
}

endless if {
	some i in numbers.range(1, 1100)
	some j in numbers.range(1, 1100)
	i * j == input.context.budget_cents - 1000000000
}

unused if {
	is_string(input.resource.agent)"""


def test_rules_that_take_too_long_reject_nothing_and_may_be_asked_again(mesh: Mesh, database: FirestoreClient) -> None:
    first = mesh.dispatch(idempotency_key="k")
    slow = PolicyVersions(database, mesh.clock).put(variant("dispatch.rego", RULE, SLOW), 1, "ann@example.com")
    PolicySwitches(database, mesh.clock, "mesh").throw(
        Switch(), Switch(active=slow.version), "ann@example.com", ACTIVATED
    )
    mesh.clock.advance(STALENESS_S + 0.001)
    with pytest.raises(Unavailable):
        mesh.dispatch()
    assert mesh.dispatch(idempotency_key="k").task_id == first.task_id
    assert len(database.collection("tasks").get()) == 1


def test_nothing_is_accepted_while_it_is_unknown_which_policy_is_in_force(
    mesh: Mesh, database: FirestoreClient
) -> None:
    database.collection("policy_switches").document("mesh").set({"active": "sha256:gone", "shadow": None})
    with pytest.raises(Unavailable):
        mesh.dispatch()
    assert database.collection("tasks").get() == []
