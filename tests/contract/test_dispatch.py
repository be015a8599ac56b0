"""`POST /dispatch`: both modes, what is refused and what is left of it, prices and errors of handlers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.contract.mesh import Mesh, assert_problem, unique


def refused_task(mesh: Mesh, agent: str, status: int, code: str, **fields: Any) -> dict[str, Any]:
    """Dispatch what is refused; return the rejected task that the problem names."""
    answer = mesh.dispatch(agent, **fields)
    assert answer.refusal == (status, code), answer.body
    assert_problem(answer)
    task = mesh.task(answer.json["taskId"])
    assert (task["status"], task["error"]["code"], task["costCents"]) == ("rejected", code, 0)
    return task


def test_over_http_the_answer_is_the_finished_task(mesh: Mesh) -> None:
    answer = mesh.dispatch("light", payload={"n": [1, 2.5, "ü\u0000\U0001f600"]}, traceId="trace-of-mine")
    task = answer.json
    assert answer.status == 200
    assert answer.headers["location"] == f"/task/{task['taskId']}"
    assert (task["status"], task["agent"], task["mode"], task["costCents"]) == ("succeeded", "light", "http", 5)
    assert task["result"]["echo"] == {"n": [1, 2.5, "ü\u0000\U0001f600"]}
    assert (task["traceId"], task["caller"]) == ("trace-of-mine", mesh.developer)
    assert mesh.get(answer.headers["location"]).body == answer.body


def test_over_pubsub_the_answer_is_the_accepted_task_and_the_result_follows(mesh: Mesh) -> None:
    answer = mesh.dispatch("light", payload={"n": 1}, mode="pubsub")
    assert (answer.status, answer.json["status"], answer.json["costCents"]) == (202, "accepted", 0)
    assert "result" not in answer.json
    task = mesh.ended(answer.headers["location"].removeprefix("/task/"))
    assert (task["status"], task["result"]["echo"], task["costCents"]) == ("succeeded", {"n": 1}, 5)
    assert {name: task[name] for name in ("taskId", "createdAt", "traceId")}.items() <= answer.json.items()


def test_both_modes_charge_the_agents_budget(mesh: Mesh) -> None:
    before, _ = mesh.budget("actor")
    mesh.dispatch("actor")
    mesh.ended(mesh.accepted("actor")["taskId"])
    assert mesh.budget("actor")[0] - before == 2 * 2


def test_an_unknown_agent_is_refused_and_the_rejected_task_stays_visible(mesh: Mesh) -> None:
    agent = unique("nobody")
    task = refused_task(mesh, agent, 404, "agent_unknown")
    assert [one["taskId"] for one in mesh.listed(f"agent={agent}&status=rejected")] == [task["taskId"]]


@pytest.mark.parametrize("mode", ["http", "pubsub"])
@pytest.mark.parametrize("late_by", [0.001, 3600.0])
def test_a_ttl_that_has_passed_is_refused_and_nothing_runs(mesh: Mesh, mode: str, late_by: float) -> None:
    word = unique()
    ttl = time.time() - late_by
    task = refused_task(mesh, "actor", 422, "ttl_expired", ttl=ttl, mode=mode, payload={"word": word})
    assert task["taskId"] in [one["taskId"] for one in mesh.listed("agent=actor&status=rejected")]
    assert mesh.starts(word) == []


@pytest.mark.parametrize("mode", ["http", "pubsub"])
def test_a_run_dearer_than_the_callers_budget_is_refused_before_it_starts(mesh: Mesh, mode: str) -> None:
    word, used = unique(), mesh.budget("actor")
    refused_task(mesh, "actor", 402, "budget_exceeded", budgetCents=1, mode=mode, payload={"word": word})
    assert mesh.budget("actor") == used
    assert mesh.starts(word) == []


def test_a_budget_of_exactly_the_price_is_enough(mesh: Mesh) -> None:
    assert mesh.dispatch("actor", budgetCents=2).json["costCents"] == 2


def test_an_agent_that_is_dearer_than_announced_refuses_the_run_itself(mesh: Mesh) -> None:
    answer = mesh.dispatch("dearer", budgetCents=10)
    assert answer.refusal == (402, "budget_exceeded")
    assert mesh.task(answer.json["taskId"])["costCents"] == 0
    assert mesh.budget("dearer")[0] == 0


def test_a_failed_run_over_http_is_an_answer_and_no_error(mesh: Mesh) -> None:
    answer = mesh.dispatch("actor", payload={"act": "fail", "times": 9})
    assert (answer.status, answer.json["status"], answer.json["costCents"]) == (200, "failed", 0)
    assert answer.json["error"] == {"code": "asked_to_fail", "detail": "attempt 1 fails as asked", "retryable": True}


def test_an_unexpected_exception_tells_its_kind_and_nothing_more(mesh: Mesh) -> None:
    error = mesh.dispatch("actor", payload={"act": "break"}).json["error"]
    assert error["code"] == "handler_failed"
    assert "ZeroDivisionError" in error["detail"]
    assert "Traceback" not in error["detail"]


def test_a_payload_that_does_not_fit_the_agents_model_is_final_and_names_the_field(mesh: Mesh) -> None:
    task = mesh.dispatch("metered", payload={"cents": "many"}).json
    assert (task["status"], task["error"]["code"]) == ("dead", "payload_invalid")
    assert "payload.cents" in task["error"]["detail"]


@pytest.mark.parametrize(("payload", "cents"), [({}, 1), ({"cents": 0}, 0), ({"cents": 20}, 20)])
@pytest.mark.parametrize("by_call", [True, False])
def test_the_handler_sets_the_price_up_to_its_maximum(
    mesh: Mesh, payload: dict[str, int], cents: int, by_call: bool
) -> None:
    before, _ = mesh.budget("metered")
    task = mesh.dispatch("metered", payload={**payload, "by_call": by_call}).json
    assert (task["status"], task["costCents"]) == ("succeeded", cents)
    assert mesh.budget("metered")[0] - before == cents


def test_a_price_above_the_maximum_fails_the_run_and_is_not_charged_beyond_it(mesh: Mesh) -> None:
    before, _ = mesh.budget("metered")
    task = mesh.dispatch("metered", payload={"cents": 21}).json
    assert (task["status"], task["error"]["code"], task["costCents"]) == ("failed", "price_above_maximum", 20)
    assert mesh.budget("metered")[0] - before == 20


def test_what_an_agent_may_cost_at_most_is_what_the_caller_must_allow(mesh: Mesh) -> None:
    assert mesh.dispatch("metered", payload={"cents": 1}, budgetCents=19).refusal == (402, "budget_exceeded")


def test_work_done_before_a_failure_is_charged(mesh: Mesh) -> None:
    task = mesh.dispatch("metered", payload={"cents": 7, "fail": True}).json
    assert (task["status"], task["costCents"]) == ("failed", 7)


def test_a_result_that_comes_after_the_ttl_is_not_handed_out_but_charged(mesh: Mesh) -> None:
    task = mesh.accepted("actor", payload={"act": "sleep", "seconds": 2}, ttl=time.time() + 1)
    ended = mesh.ended(task["taskId"])
    assert (ended["status"], ended["error"]["code"], ended["costCents"]) == ("expired", "ttl_expired", 2)
    assert "result" not in ended


def test_over_http_a_run_that_outlasts_its_ttl_is_422(mesh: Mesh) -> None:
    answer = mesh.dispatch("actor", payload={"act": "sleep", "seconds": 1.5}, ttl=time.time() + 1)
    assert answer.refusal == (422, "ttl_expired")
    assert mesh.task(answer.json["taskId"])["status"] == "expired"


def test_a_very_long_reason_of_a_handler_does_not_keep_its_task_from_ending(mesh: Mesh) -> None:
    answer = mesh.dispatch("actor", payload={"act": "end", "length": 1_200_000})
    assert (answer.status, answer.json["status"]) == (200, "dead")


@pytest.mark.parametrize("path", ["", "/events", "/explain"])
def test_a_task_that_is_not_there_or_anothers_is_404(mesh: Mesh, path: str) -> None:
    mine = mesh.dispatch("light").json["taskId"]
    for email, task_id in ((mesh.other_caller, mine), ("", unique("task"))):
        answer = mesh.get(f"/task/{task_id}{path}", email=email)
        assert answer.refusal == (404, "not_found")
        assert mine not in answer.json["detail"].replace(task_id, "")


def test_anothers_task_can_be_neither_cancelled_nor_replayed(mesh: Mesh) -> None:
    mine = mesh.accepted("actor", notBefore=time.time() + 40)["taskId"]
    for action in ("cancel", "replay"):
        answer = mesh.post(f"/task/{mine}/{action}", {}, email=mesh.other_caller)
        assert answer.refusal == (404, "not_found")
    assert mesh.task(mine)["status"] == "accepted"
    mesh.post(f"/task/{mine}/cancel")


def test_an_operator_sees_every_callers_tasks(mesh: Mesh) -> None:
    theirs = mesh.dispatch("light", email=mesh.other_caller).json
    assert theirs["caller"] == mesh.other_caller
    assert mesh.task(theirs["taskId"]) == theirs
    assert mesh.get(f"/task/{theirs['taskId']}", email=mesh.other_caller).json == theirs
