"""An agent's two endpoints, over a real Firestore."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from agent_mesh.agents.admission import Price
from agent_mesh.agents.errors import RetryableError, TerminalError
from agent_mesh.agents.execution import Handler
from agent_mesh.agents.held_run import Run
from agent_mesh.agents.records import RunState
from agent_mesh.agents.runs import WantedRun
from agent_mesh.contracts.problems import (
    AgentPaused,
    AttemptFailed,
    Busy,
    InvalidRequest,
    MalformedRequest,
    Unavailable,
)
from agent_mesh.contracts.runs import RunMessage, RunStatus
from tests.unit.agents.conftest import LEASE_S, ORCHESTRATOR, OTHER, PRICE, RUNNER, AgentInHand, Receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"


class TestDirectCalls:
    """`POST /run` by somebody who is not the orchestrator."""

    def test_a_call_runs_and_is_charged(self, agent: AgentInHand) -> None:
        answer = agent.run(payload={"n": 7}, traceId="t")
        assert answer.status == 200
        assert answer.body == {
            "status": "succeeded",
            "result": {"echo": {"n": 7}},
            "costCents": PRICE,
            "idempotent": False,
            "attempt": 1,
            "traceId": "t",
        }
        assert agent.spent() == PRICE
        assert agent.results() == []
        assert agent.events() == ["mesh.run.succeeded"]

    @pytest.mark.parametrize(("by", "code"), [(None, "unauthenticated"), ("stranger@example.com", "forbidden")])
    def test_a_call_by_nobody_in_particular_is_refused(self, agent: AgentInHand, by: str | None, code: str) -> None:
        assert agent.run(by=by).code == code
        assert agent.work.calls == []

    @pytest.mark.parametrize("name", ["idempotencyKey", "taskId"])
    def test_a_repeat_gives_the_stored_answer(self, agent: AgentInHand, name: str) -> None:
        first = agent.run(**{name: "k"})
        again = agent.run(**{name: "k"})
        assert again.body == first.body | {"idempotent": True, "traceId": again.body["traceId"]}
        assert len(agent.work.calls) == 1
        assert agent.spent() == PRICE
        assert agent.events() == ["mesh.run.succeeded"]

    def test_a_repeat_after_the_ttl_or_with_a_smaller_budget_gives_the_stored_answer(self, agent: AgentInHand) -> None:
        agent.run(idempotencyKey="k")
        agent.clock.advance(100)
        again = agent.run(idempotencyKey="k", ttl=agent.clock.now() - 40, budgetCents=0)
        assert (again.status, again.body["idempotent"]) == (200, True)

    def test_calls_without_a_key_run_each(self, agent: AgentInHand) -> None:
        assert [agent.run().body["idempotent"] for _ in range(2)] == [False, False]
        assert agent.spent() == 2 * PRICE

    def test_a_key_belongs_to_its_caller(self, agent: AgentInHand) -> None:
        agent.run(idempotencyKey="k")
        assert agent.run(by=OTHER, idempotencyKey="k").body["idempotent"] is False

    @pytest.mark.parametrize("name", ["idempotencyKey", "taskId"])
    def test_another_payload_under_the_same_key_is_a_conflict(self, agent: AgentInHand, name: str) -> None:
        agent.run(**{name: "k"})
        refused = agent.run(payload={"n": 2}, **{name: "k"})
        assert (refused.status, refused.code) == (409, "idempotency_conflict")
        assert len(agent.work.calls) == 1

    @pytest.mark.parametrize(
        ("changes", "status", "code"),
        [({"ttl": 1.0}, 422, "ttl_expired"), ({"budgetCents": PRICE - 1}, 402, "budget_exceeded")],
        ids=["late", "dear"],
    )
    def test_a_refusal_leaves_nothing_and_does_not_use_up_the_key(
        self, agent: AgentInHand, changes: dict[str, Any], status: int, code: str
    ) -> None:
        refused = agent.run(idempotencyKey="k", **changes)
        assert (refused.status, refused.code) == (status, code)
        assert agent.stored() == []
        assert agent.run(idempotencyKey="k").body["idempotent"] is False

    def test_a_refusal_after_a_failed_attempt_does_not_use_up_the_key_either(self, agent: AgentInHand) -> None:
        agent.work.fails_with(RetryableError("not today"))
        assert agent.run(idempotencyKey="k").body["status"] == "failed"
        assert agent.run(idempotencyKey="k", ttl=1.0).code == "ttl_expired"
        agent.work.returns("done")
        answer = agent.run(idempotencyKey="k")
        assert (answer.status, answer.body["status"], answer.body["attempt"]) == (200, "succeeded", 2)

    def test_a_late_repeat_of_a_run_that_is_going_on_is_busy(self, agent: AgentInHand) -> None:
        answers = []

        def work(_payload: object, _run: object) -> object:
            answers.append(agent.run(idempotencyKey="k", ttl=1.0))
            answers.append(agent.run(idempotencyKey="k"))
            return "done"

        agent.work.act = work
        assert agent.run(idempotencyKey="k").status == 200
        assert [(answer.status, answer.code) for answer in answers] == [(429, "busy")] * 2
        assert answers[0].headers["Retry-After"] == "10"

    def test_a_call_over_the_agents_budget_is_refused_and_reserves_nothing(self, agent: AgentInHand) -> None:
        for _ in range(100 // PRICE):
            assert agent.run().status == 200
        refused = agent.run(idempotencyKey="k")
        assert (refused.status, refused.code) == (402, "budget_exceeded")
        assert agent.spent() == 100
        agent.clock.advance(86_400)
        assert agent.run(idempotencyKey="k").body["idempotent"] is False

    def test_a_failed_run_is_an_answer_and_may_be_tried_again(self, agent: AgentInHand) -> None:
        agent.work.fails_with(RetryableError("not today", code="closed"))
        answer = agent.run(idempotencyKey="k")
        assert (answer.status, answer.body["status"]) == (200, "failed")
        assert answer.body["error"] == {"code": "closed", "detail": "not today", "retryable": True}
        assert agent.spent() == 0
        assert agent.events() == ["mesh.run.retrying"]
        agent.work.returns("done")
        assert agent.run(idempotencyKey="k").body["attempt"] == 2

    def test_a_run_that_can_never_work_is_dead_and_stays_so(self, agent: AgentInHand) -> None:
        agent.work.fails_with(TerminalError("no such page", code="page_missing"))
        assert [agent.run(idempotencyKey="k").body["status"] for _ in range(2)] == ["dead", "dead"]
        assert len(agent.work.calls) == 1
        assert agent.publisher.on("tasks-dead") == []

    def test_a_defect_of_the_handler_is_told_without_its_text(self, agent: AgentInHand) -> None:
        agent.work.fails_with(KeyError("the secret is xyzzy"))
        answer = agent.run()
        assert answer.body["error"]["code"] == "handler_failed"
        assert "xyzzy" not in json.dumps(answer.body)

    def test_a_paused_agent_refuses(self, agent: AgentInHand) -> None:
        agent.controls.pause("light", "ann")
        for by in (RUNNER, ORCHESTRATOR):
            refused = agent.run(by=by, taskId="task_1")
            assert (refused.status, refused.code) == (409, "agent_paused")
        assert agent.stored() == []
        agent.controls.resume("light", "ann")
        assert agent.run().status == 200

    def test_a_callback_gets_what_the_caller_gets(self, agent: AgentInHand, receiver: Receiver) -> None:
        answer = agent.run(callbackUrl=receiver.url)
        (body,) = receiver.bodies
        assert body["type"] == "mesh.run.succeeded"
        assert isinstance(body["data"], dict)
        assert body["data"]["result"] == answer.body["result"]

    def test_an_attempt_that_may_be_repeated_calls_nobody_back(self, agent: AgentInHand, receiver: Receiver) -> None:
        agent.work.fails_with(RetryableError("not today"))
        agent.run(callbackUrl=receiver.url)
        assert receiver.bodies == []

    def test_a_callback_that_fails_may_be_had_again_under_the_same_key(
        self, agent: AgentInHand, receiver: Receiver
    ) -> None:
        receiver.status = 503
        first = agent.run(callbackUrl=receiver.url, idempotencyKey="k").body
        assert (first["status"], first["callbackDelivered"]) == ("succeeded", False)
        receiver.status = 200
        again = agent.run(callbackUrl=receiver.url, idempotencyKey="k").body
        assert (again["idempotent"], again["callbackDelivered"]) == (True, True)
        assert (len(receiver.bodies), len(agent.work.calls)) == (2, 1)

    def test_a_callback_that_may_not_be_called_is_refused_before_anything_runs(self, agent: AgentInHand) -> None:
        refused = agent.run(callbackUrl="https://169.254.169.254/latest")
        assert (refused.status, refused.body["errors"][0]["field"]) == (422, "callbackUrl")
        assert agent.work.calls == []


class TestTheTaskIdOfAStranger:
    """Only the orchestrator may name a task's run; anybody else's task id is a key of their own."""

    def test_it_runs_apart_from_the_task(self, agent: AgentInHand) -> None:
        agent.work.returns("forged")
        forged = agent.run(taskId="task_1")
        assert forged.body["taskId"] == "task_1"
        assert agent.runs.get("task_1") is None
        agent.work.returns("real")
        agent.push(agent.task())
        real = agent.runs.get("task_1")
        assert real is not None
        assert real.outcome is not None
        assert real.outcome.result_json == '"real"'

    def test_it_does_not_get_the_tasks_result(self, agent: AgentInHand) -> None:
        agent.push(agent.task(payload={"secret": 42}))
        answer = agent.run(taskId="task_1")
        assert answer.body["idempotent"] is False
        assert answer.body["result"] == {"echo": {"n": 1}}

    def test_its_result_is_published_under_its_own_run(self, agent: AgentInHand) -> None:
        agent.run(taskId="task_1")
        (result,) = agent.results()
        assert result.task_id.startswith("run_")
        assert all("task_1" not in message.attributes.values() for message in agent.publisher.on("results"))

    def test_its_dead_letter_does_not_bury_the_task(self, agent: AgentInHand) -> None:
        agent.work.fails_with(TerminalError("never"))
        agent.run(taskId="task_1")
        (letter,) = agent.publisher.on("tasks-dead")
        assert RunMessage.model_validate_json(letter.data).task_id is None

    def test_it_reserves_and_pays(self, agent: AgentInHand) -> None:
        agent.run(taskId="task_1")
        assert agent.spent() == PRICE


class TestTheOrchestratorsCalls:
    """`POST /run` by the orchestrator, which has reserved the budget."""

    def test_a_task_runs_under_its_own_id_and_reserves_nothing(self, agent: AgentInHand) -> None:
        answer = agent.run(by=ORCHESTRATOR, taskId="task_1", attempt=3)
        assert (answer.body["attempt"], answer.body["taskId"]) == (3, "task_1")
        assert agent.spent() == 0
        run = agent.runs.get("task_1")
        assert run is not None
        assert run.state is RunState.FINISHED
        assert [result.task_id for result in agent.results()] == ["task_1"]

    def test_a_task_delivered_over_both_ways_runs_once(self, agent: AgentInHand) -> None:
        first = agent.run(by=ORCHESTRATOR, taskId="task_1")
        agent.push(agent.task())
        assert len(agent.work.calls) == 1
        assert [result.result for result in agent.results()] == [first.body["result"]] * 2

    def test_a_failure_is_final_because_nobody_delivers_it_again(self, agent: AgentInHand) -> None:
        agent.work.fails_with(RetryableError("not today"))
        answer = agent.run(by=ORCHESTRATOR, taskId="task_1")
        assert answer.body["status"] == "failed"
        assert [result.status for result in agent.results()] == [RunStatus.FAILED]

    def test_a_refusal_is_stored_and_told_as_a_problem(self, agent: AgentInHand) -> None:
        refused = agent.run(by=ORCHESTRATOR, taskId="task_1", ttl=1.0)
        assert (refused.status, refused.code) == (422, "ttl_expired")
        assert [result.status for result in agent.results()] == [RunStatus.EXPIRED]
        assert agent.run(by=ORCHESTRATOR, taskId="task_1").code == "ttl_expired"

    def test_a_task_too_dear_is_told_as_a_problem(self, agent: AgentInHand) -> None:
        assert agent.run(by=ORCHESTRATOR, taskId="task_1", budgetCents=1).code == "budget_exceeded"

    def test_the_orchestrator_makes_the_callback_itself(self, agent: AgentInHand, receiver: Receiver) -> None:
        agent.run(by=ORCHESTRATOR, taskId="task_1", callbackUrl=receiver.url)
        assert receiver.bodies == []

    def test_without_a_task_it_is_a_caller_like_any_other(self, agent: AgentInHand) -> None:
        agent.run(by=ORCHESTRATOR)
        assert agent.spent() == PRICE
        assert agent.results() == []

    def test_a_run_in_other_hands_is_busy(self, agent: AgentInHand) -> None:
        agent.runs.claim(WantedRun("task_1", "light", ""))
        assert agent.run(by=ORCHESTRATOR, taskId="task_1").code == "busy"


class TestPushes:
    """`POST /pubsub/push`."""

    def test_a_push_over_http_is_acknowledged_without_a_word(self, agent: AgentInHand) -> None:
        data = base64.b64encode(json.dumps(agent.task()).encode()).decode()
        answer = agent.post("/pubsub/push", {"message": {"data": data}, "subscription": "s"}, "push@example.com")
        assert (answer.status, answer.body) == (204, {})
        assert len(agent.work.calls) == 1

    @pytest.mark.parametrize("by", [None, RUNNER, ORCHESTRATOR])
    def test_only_pubsub_may_push(self, agent: AgentInHand, by: str | None) -> None:
        assert agent.post("/pubsub/push", {"message": {}}, by).status in {401, 403}

    def test_a_task_is_run_and_its_result_published(self, agent: AgentInHand) -> None:
        agent.push(agent.task(traceId="t", attempt=2))
        (result,) = agent.results()
        assert (result.task_id, result.status, result.result) == (
            "task_1",
            RunStatus.SUCCEEDED,
            {"echo": {"n": 1}},
        )
        assert (result.cost_cents, result.attempt, result.trace_id, result.agent) == (PRICE, 2, "t", "light")
        assert agent.spent() == 0

    def test_a_plain_payload_is_run_as_one(self, agent: AgentInHand) -> None:
        agent.push({"n": 5}, message_id="1", traceId="t")
        assert agent.work.calls == [{"n": 5}]
        (result,) = agent.results()
        assert (result.result, result.trace_id) == ({"echo": {"n": 5}}, "t")
        assert result.task_id.startswith("run_")
        assert agent.spent() == PRICE

    def test_the_same_message_runs_once_and_answers_twice(self, agent: AgentInHand) -> None:
        for _ in range(2):
            agent.push({"n": 5}, message_id="1")
        agent.push({"n": 5}, message_id="2")
        assert len(agent.work.calls) == 2
        assert len(agent.results()) == 3
        assert len({result.task_id for result in agent.results()}) == 2

    def test_the_key_in_an_attribute_dedupes(self, agent: AgentInHand) -> None:
        for number in range(2):
            agent.push({"n": 5}, message_id=str(number), idempotencyKey="k")
        assert len(agent.work.calls) == 1

    def test_a_callback_gets_the_result_instead_of_the_topic(self, agent: AgentInHand, receiver: Receiver) -> None:
        agent.push({"payload": {"n": 5}, "callbackUrl": receiver.url}, message_id="1")
        assert len(receiver.bodies) == 1
        assert agent.results() == []

    def test_a_task_never_calls_back_from_the_agent(self, agent: AgentInHand, receiver: Receiver) -> None:
        agent.push(agent.task(callbackUrl=receiver.url))
        assert receiver.bodies == []
        assert len(agent.results()) == 1

    def test_a_callback_that_fails_is_delivered_again_and_run_once(
        self, agent: AgentInHand, receiver: Receiver
    ) -> None:
        message = {"payload": {"n": 5}, "callbackUrl": receiver.url}
        receiver.status = 500
        with pytest.raises(Unavailable):
            agent.push(message, message_id="1")
        receiver.status = 204
        agent.push(message, message_id="1")
        assert (len(agent.work.calls), len(receiver.bodies)) == (1, 2)

    def test_a_callback_that_may_not_be_called_is_not_acknowledged(self, agent: AgentInHand) -> None:
        with pytest.raises(InvalidRequest):
            agent.push({"payload": {}, "callbackUrl": "https://169.254.169.254/"}, message_id="1")
        assert agent.work.calls == []

    def test_a_message_for_another_agent_is_its_business(self, agent: AgentInHand) -> None:
        agent.push(b"not even json", agent="dark")
        assert (agent.work.calls, agent.results()) == ([], [])
        agent.push({"n": 1}, message_id="1", agent="light")
        assert len(agent.work.calls) == 1

    def test_what_nobody_can_read_is_not_acknowledged(self, agent: AgentInHand) -> None:
        with pytest.raises(MalformedRequest):
            agent.push(b"not json")

    def test_a_failure_that_may_pass_is_delivered_again_and_may_succeed(self, agent: AgentInHand) -> None:
        agent.work.fails_with(RetryableError("not today"))
        with pytest.raises(AttemptFailed, match="Attempt 1 failed: not today"):
            agent.push(agent.task())
        assert agent.results() == []
        agent.work.returns("done")
        agent.push(agent.task())
        assert [(result.result, result.attempt) for result in agent.results()] == [("done", 2)]

    def test_a_failure_that_never_passes_is_acknowledged_with_a_dead_letter_and_a_result(
        self, agent: AgentInHand
    ) -> None:
        agent.work.fails_with(TerminalError("no such page", code="page_missing"))
        agent.push(agent.task())
        (letter,) = agent.publisher.on("tasks-dead")
        assert RunMessage.model_validate_json(letter.data).task_id == "task_1"
        assert letter.attributes["deadLetterReason"] == "page_missing"
        assert [result.status for result in agent.results()] == [RunStatus.DEAD]

    @pytest.mark.parametrize(
        ("changes", "status"),
        [({"ttl": 1.0}, RunStatus.EXPIRED), ({"budgetCents": 1}, RunStatus.REJECTED)],
        ids=["late", "dear"],
    )
    def test_a_refusal_is_acknowledged_and_published(
        self, agent: AgentInHand, changes: dict[str, object], status: RunStatus
    ) -> None:
        agent.push(agent.task(**changes))
        assert [(result.status, result.cost_cents) for result in agent.results()] == [(status, 0)]
        assert agent.work.calls == []

    def test_a_task_in_other_hands_is_acknowledged_and_says_nothing(self, agent: AgentInHand) -> None:
        agent.runs.claim(WantedRun("task_1", "light", ""))
        agent.push(agent.task())
        assert (agent.work.calls, agent.results()) == ([], [])

    def test_a_message_without_a_task_in_other_hands_is_delivered_again(self, agent: AgentInHand) -> None:
        def work(_payload: object, _run: object) -> object:
            with pytest.raises(Busy):
                agent.push({"n": 5}, message_id="1")
            return "done"

        agent.work.act = work
        agent.push({"n": 5}, message_id="1")
        assert len(agent.results()) == 1

    def test_a_process_that_died_leaves_a_task_that_the_next_delivery_runs(self, agent: AgentInHand) -> None:
        agent.runs.claim(WantedRun("task_1", "light", ""))
        agent.clock.advance(LEASE_S)
        agent.push(agent.task())
        assert [result.attempt for result in agent.results()] == [2]

    def test_a_paused_agent_parks_tasks_and_leaves_other_messages_with_pubsub(self, agent: AgentInHand) -> None:
        agent.controls.pause("light", "ann")
        agent.push(agent.task())
        assert agent.runs.parked("light", 10) == ["task_1"]
        with pytest.raises(AgentPaused) as refused:
            agent.push({"n": 5}, message_id="1")
        assert refused.value.retry_after_s == 30
        assert agent.work.calls == []
        agent.controls.resume("light", "ann")
        agent.push(agent.task())
        assert [result.task_id for result in agent.results()] == ["task_1"]

    def test_the_trace_of_the_message_goes_on_in_its_result(self, agent: AgentInHand) -> None:
        agent.push(agent.task(), traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
        (message,) = agent.publisher.on("results")
        assert message.attributes["traceparent"].startswith(f"00-{TRACE}-")

    def test_a_topic_that_is_closed_keeps_the_message_and_the_outcome(
        self, agent: AgentInHand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def closed(_topic: str, _messages: object) -> list[str]:
            raise Unavailable("closed")

        with monkeypatch.context() as patch:
            patch.setattr(agent.publisher, "publish", closed)
            with pytest.raises(Unavailable):
                agent.push(agent.task())
        agent.push(agent.task())
        assert len(agent.work.calls) == 1
        assert [result.task_id for result in agent.results()] == ["task_1"]


class TestPushesWithoutVerification:
    """On a developer's machine."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"PUBSUB_VERIFY_OIDC": "false"}

    def test_anybody_may_push_and_still_nobody_may_call(self, agent: AgentInHand) -> None:
        assert agent.post("/pubsub/push", {"message": {"data": "e30="}}, None).status == 204
        assert agent.run(by=None).status == 401


class TestProgressAndPrice:
    """What a handler says while it works."""

    def test_a_handler_sees_its_limits_and_may_report(self, agent: AgentInHand) -> None:
        seen = []

        def work(_payload: object, run: Run) -> object:
            seen.append((run.run_id, run.attempt, run.remaining_s, run.budget_cents, run.trace_id))
            run.progress("half", percent=50)
            return "done"

        agent.work.act = work
        agent.push(agent.task(traceId="t"))
        assert seen == [("task_1", 1, 60.0, 10, "t")]
        run = agent.runs.get("task_1")
        assert run is not None
        assert [(entry.message, entry.percent) for entry in run.progress] == [("half", 50)]

    def test_what_a_run_charges_is_what_its_caller_pays(
        self, agent_with: Callable[[Handler | None, Price], AgentInHand]
    ) -> None:
        agent = agent_with(None, Price(1, 9))

        def work(_payload: object, run: Run) -> object:
            run.charge(4)
            return "done"

        agent.work.act = work
        assert agent.run().body["costCents"] == 4
        assert agent.spent() == 4

    def test_a_run_that_charges_too_much_fails_and_pays_the_maximum(
        self, agent_with: Callable[[Handler | None, Price], AgentInHand]
    ) -> None:
        agent = agent_with(None, Price(1, 9))

        def work(_payload: object, run: Run) -> object:
            run.charge(10)
            return "done"

        agent.work.act = work
        answer = agent.run()
        assert (answer.body["status"], answer.body["error"]["code"]) == ("failed", "price_above_maximum")
        assert agent.spent() == 9
