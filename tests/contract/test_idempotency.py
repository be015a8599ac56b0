"""One idempotency key: one task, one run, one charge, one answer."""

from __future__ import annotations

import time

import pytest

from tests.contract.mesh import Mesh, at_once, unique

RACERS = 50


def test_fifty_at_once_over_http_are_one_run_one_charge_and_fifty_equal_answers(mesh: Mesh) -> None:
    key, word, (before, _) = unique("key"), unique(), mesh.budget("actor")
    payload = {"word": word, "act": "sleep", "seconds": 0.3}
    answers = at_once(RACERS, lambda _: mesh.dispatch("actor", payload=payload, idempotencyKey=key))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].json["status"] == "succeeded"
    assert mesh.starts(word) == [1]
    assert mesh.budget("actor")[0] - before == 2
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


def test_fifty_at_once_over_pubsub_are_one_task_and_one_run(mesh: Mesh) -> None:
    key, word, (before, _) = unique("key"), unique(), mesh.budget("actor")
    answers = at_once(
        RACERS, lambda _: mesh.dispatch("actor", payload={"word": word}, idempotencyKey=key, mode="pubsub")
    )
    assert {answer.status for answer in answers} <= {200, 202}
    (task_id,) = {answer.json["taskId"] for answer in answers}
    assert mesh.ended(task_id)["status"] == "succeeded"
    assert mesh.starts(word) == [1]
    assert mesh.budget("actor")[0] - before == 2


@pytest.mark.parametrize("mode", ["http", "pubsub"])
def test_a_repeat_after_the_end_is_answered_with_the_same_bytes(mesh: Mesh, mode: str) -> None:
    key = unique("key")
    first = mesh.dispatch("light", payload={"a": 1, "b": 2}, idempotencyKey=key, mode=mode).json
    ended = mesh.ended(first["taskId"])
    repeats = [mesh.dispatch("light", payload={"b": 2, "a": 1}, idempotencyKey=key, mode=mode) for _ in range(2)]
    assert repeats[0].body == repeats[1].body
    assert repeats[0].json == ended
    assert repeats[0].headers["idempotent-replayed"] == "true"


def test_ttl_trace_and_budget_of_a_repeat_do_not_conflict(mesh: Mesh) -> None:
    key = unique("key")
    first = mesh.dispatch("light", idempotencyKey=key)
    again = mesh.dispatch("light", idempotencyKey=key, ttl=time.time() + 900, budgetCents=99, traceId="another")
    assert again.body == first.body


def test_a_repeat_that_would_be_refused_by_now_still_gets_the_first_answer(mesh: Mesh) -> None:
    key = unique("key")
    first = mesh.dispatch("light", idempotencyKey=key)
    assert mesh.dispatch("light", idempotencyKey=key, ttl=time.time() - 1).body == first.body
    assert mesh.dispatch("light", idempotencyKey=key, budgetCents=0).body == first.body


def test_the_key_with_another_payload_or_mode_is_409_and_runs_nothing(mesh: Mesh) -> None:
    key, word = unique("key"), unique()
    first = mesh.dispatch("actor", idempotencyKey=key).json
    for change in ({"payload": {"word": word}}, {"mode": "pubsub"}):
        answer = mesh.dispatch("actor", idempotencyKey=key, **change)
        assert answer.refusal == (409, "idempotency_conflict")
        assert answer.json["taskId"] == first["taskId"]
    assert mesh.starts(word) == []
    assert mesh.task(first["taskId"]) == first


def test_the_key_belongs_to_one_agent_and_one_caller(mesh: Mesh) -> None:
    key = unique("key")
    answers = [
        mesh.dispatch("light", idempotencyKey=key),
        mesh.dispatch("actor", idempotencyKey=key),
        mesh.dispatch("light", idempotencyKey=key, email=mesh.other_caller),
    ]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["taskId"] for answer in answers}) == 3


def test_a_refused_request_leaves_its_key_free(mesh: Mesh) -> None:
    key = unique("key")
    assert mesh.dispatch("actor", idempotencyKey=key, budgetCents=0).status == 402
    assert mesh.dispatch("actor", idempotencyKey=key).json["status"] == "succeeded"


def test_without_a_key_equal_requests_are_two_tasks(mesh: Mesh) -> None:
    word = unique()
    ids = {mesh.dispatch("actor", payload={"word": word}).json["taskId"] for _ in range(2)}
    assert len(ids) == 2
    assert mesh.starts(word) == [1, 1]
