"""Runs that no orchestrator asked policy about: the agent asks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent_mesh.agents.admission import Price
from agent_mesh.agents.routes import AgentFunction
from agent_mesh.contracts.problems import Unavailable
from agent_mesh.policy.acts import ACTIVATED
from agent_mesh.policy.switch import PolicySwitches, Switch
from agent_mesh.policy.versions import PolicyVersions
from tests.policies import variant
from tests.unit.agents.conftest import ORCHESTRATOR, PRICE, RUNNER, AgentInHand

SHARED = Path(__file__).resolve().parents[3] / "shared"
RULE = "caller_known if {\n\tis_string(input.subject.id)"


@pytest.fixture
def forbid(agent: AgentInHand) -> None:
    """From now on nobody runs anything but the runner named here, and its budget is small."""
    stricter = variant(
        "dispatch.rego", RULE, f'{RULE}\n\tinput.subject.id == "{RUNNER}"\n\tinput.context.budget_cents < 8'
    )
    version = PolicyVersions(agent.parts.database, agent.clock).put(stricter, 1, "ann@example.com").version
    agent.run()
    switches = PolicySwitches(agent.parts.database, agent.clock, "mesh")
    switches.throw(Switch(), Switch(active=version), "ann@example.com", ACTIVATED)
    agent.clock.advance(10.001)
    agent.work.calls.clear()


@pytest.mark.usefixtures("forbid")
class TestWherePolicyForbids:
    def test_a_direct_call_is_refused_and_runs_nothing(self, agent: AgentInHand) -> None:
        before = len(agent.stored())
        refused = agent.run(idempotencyKey="k")
        assert (refused.status, refused.code) == (403, "policy_denied")
        assert "caller_unknown" in refused.body["detail"]
        assert (agent.work.calls, len(agent.stored())) == ([], before)

    def test_the_key_stays_free_for_a_request_that_is_allowed(self, agent: AgentInHand) -> None:
        assert agent.run(idempotencyKey="k").code == "policy_denied"
        assert agent.run(idempotencyKey="k", budgetCents=7).body["idempotent"] is False

    def test_a_message_without_a_task_ends_rejected(self, agent: AgentInHand) -> None:
        agent.push({"n": 1}, "m-1")
        (result,) = agent.results()
        assert (result.status, result.error and result.error.code) == ("rejected", "policy_denied")
        assert agent.work.calls == []

    def test_a_task_of_the_orchestrator_is_not_asked_about_again(self, agent: AgentInHand) -> None:
        assert agent.run(by=ORCHESTRATOR, taskId="task_1").status == 200
        agent.push(agent.task(taskId="task_2"))
        assert len(agent.work.calls) == 2


def test_a_repeat_of_a_call_that_was_answered_gets_that_answer(agent: AgentInHand) -> None:
    first = agent.run(idempotencyKey="k")
    agent.parts.database.collection("policy_switches").document("mesh").set({"active": "sha256:gone"})
    restarted = replace(agent, function=AgentFunction("light", "", Price(PRICE, PRICE), agent.work, agent.parts))
    assert restarted.run().status == 503
    assert restarted.run(idempotencyKey="k").body["result"] == first.body["result"]


def test_a_message_without_limits_is_asked_about_with_those_that_hold_anyway(agent: AgentInHand) -> None:
    agent.push({"n": 1}, "m-1")
    assert agent.results()[0].status == "succeeded"


def test_nothing_runs_while_it_is_unknown_which_policy_is_in_force(agent: AgentInHand) -> None:
    agent.parts.database.collection("policy_switches").document("mesh").set({"active": 7})
    assert (agent.run().status, agent.work.calls) == (503, [])
    with pytest.raises(Unavailable):
        agent.push({"n": 1}, "m-1")
    assert agent.run(by=ORCHESTRATOR, taskId="task_1").status == 200


def test_an_agent_that_is_given_tasks_only_does_not_load_policy() -> None:
    code = "import sys, agent_mesh.agents.routes; sys.exit(any(n.startswith('agent_mesh.policy') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SHARED)}, check=False).returncode == 0
