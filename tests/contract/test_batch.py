"""`POST /dispatch/batch`: up to 500 tasks, one answer each, in their order."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.contract.mesh import Answer, Mesh, eventually, task_request, unique


def batch(mesh: Mesh, tasks: list[Any]) -> Answer:
    return mesh.post("/dispatch/batch", {"tasks": tasks})


def test_each_of_five_hundred_has_its_own_answer_and_the_good_ones_run(mesh: Mesh) -> None:
    used, _ = mesh.budget("metered")
    good = task_request("metered", payload={"cents": 3})
    cases: list[tuple[Any, int, str | None]] = [
        (good, 202, None),
        ({**good, "ttl": time.time() - 5}, 422, "ttl_expired"),
        ({**good, "budgetCents": 1}, 402, "budget_exceeded"),
        ({**good, "agent": "nobody"}, 404, "agent_unknown"),
        ({**good, "mode": "http"}, 422, "invalid_request"),
        ({**good, "unknown": 1}, 422, "invalid_request"),
        ({"agent": 5}, 422, "invalid_request"),
        ("a word", 422, "invalid_request"),
        (None, 422, "invalid_request"),
        (good, 202, None),
    ]
    answer = batch(mesh, [request for request, _, _ in cases] * 50)
    results = answer.json["results"]
    assert (answer.status, answer.json["accepted"], answer.json["refused"]) == (200, 100, 400)
    found = [(one["status"], one.get("problem", {}).get("code")) for one in results]
    assert found == [(status, code) for _, status, code in cases] * 50
    ids = [one["task"]["taskId"] for one in results if "task" in one]
    eventually(lambda: {mesh.task(task_id)["status"] for task_id in ids[::10]} == {"succeeded"}, 30)
    eventually(lambda: mesh.budget("metered")[0] - used == 100 * 3, 30)


def test_a_problem_in_a_batch_has_the_shape_of_every_problem(mesh: Mesh) -> None:
    problem = batch(mesh, [task_request(budgetCents=-1)]).json["results"][0]["problem"]
    assert problem.keys() >= {"type", "title", "status", "detail", "instance", "code", "traceId"}
    assert [fault["field"] for fault in problem["errors"]] == ["budgetCents"]
    assert problem["instance"] == "/dispatch/batch#0"


def test_refused_tasks_of_a_batch_stay_visible(mesh: Mesh) -> None:
    answer = batch(mesh, [task_request(budgetCents=0), task_request(ttl=1)]).json
    tasks = [mesh.task(one["problem"]["taskId"]) for one in answer["results"]]
    assert [task["error"]["code"] for task in tasks] == ["budget_exceeded", "ttl_expired"]


@pytest.mark.parametrize("count", [0, 501])
def test_an_empty_batch_and_one_of_more_than_five_hundred_are_refused_whole(mesh: Mesh, count: int) -> None:
    tasks = mesh.count("tasks")
    answer = batch(mesh, [task_request()] * count)
    assert answer.refusal == (422, "invalid_request")
    assert answer.fields == {"tasks"}
    assert mesh.count("tasks") == tasks


def test_a_key_that_comes_twice_in_a_batch_is_one_task(mesh: Mesh) -> None:
    key, word = unique("key"), unique()
    same = task_request(idempotencyKey=key, payload={"word": word})
    answer = batch(mesh, [same, task_request(), same, {**same, "payload": {}}]).json
    statuses = [one["status"] for one in answer["results"]]
    assert statuses[0] in {200, 202}
    assert statuses[1:] == [202, statuses[2], 409]
    assert answer["results"][0]["task"]["taskId"] == answer["results"][2]["task"]["taskId"]
    assert mesh.ended(answer["results"][0]["task"]["taskId"])["status"] == "succeeded"
    assert mesh.starts(word) == [1]


def test_a_repeated_batch_with_keys_runs_nothing_twice(mesh: Mesh) -> None:
    word = unique()
    requests = [task_request(idempotencyKey=unique("key"), payload={"word": word, "n": n}) for n in range(20)]
    first, second = batch(mesh, requests).json, batch(mesh, requests).json
    ids = [one["task"]["taskId"] for one in first["results"]]
    assert [one["task"]["taskId"] for one in second["results"]] == ids
    for task_id in ids:
        assert mesh.ended(task_id)["status"] == "succeeded"
    assert len(mesh.starts(word)) == 20


def test_a_batch_larger_than_its_budget_admits_exactly_what_fits(mesh: Mesh) -> None:
    mesh.open_budget("miser", 9)
    answer = batch(mesh, [task_request("miser") for _ in range(12)]).json
    assert [one["status"] for one in answer["results"]] == [202] * 4 + [402] * 8
    assert mesh.budget("miser")[0] == 8
    for one in answer["results"][:4]:
        mesh.post(f"/task/{one['task']['taskId']}/cancel")
    assert mesh.budget("miser")[0] == 0


def test_numbers_that_json_does_not_have_refuse_only_their_task(mesh: Mesh) -> None:
    good = json.dumps(task_request(payload={"n": 1}))
    for word in ("NaN", "1e999", "-Infinity"):
        body = f'{{"tasks": [{good}, {good.replace(": 1}", f": {word}}}")}]}}'.encode()
        assert word.encode() in body
        answer = mesh.raw("POST", "/dispatch/batch", body)
        if answer.status == 200:
            assert [one["status"] for one in answer.json["results"]] == [202, 422]
        else:
            assert answer.status in {400, 422}
