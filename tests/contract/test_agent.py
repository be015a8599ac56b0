"""An agent function asked directly: `POST /run` by a caller, `POST /pubsub/push` without an orchestrator."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.contract.mesh import Answer, Mesh, at_once, envelope_of, eventually, unique


def run(mesh: Mesh, role: str = "agent_light", *, email: str = "", **fields: Any) -> Answer:
    request = {"payload": {}, "ttl": time.time() + 60, "budgetCents": 20} | fields
    return mesh.post("/run", request, role=role, email=email)


def push(mesh: Mesh, data: object, role: str = "actor", **envelope: Any) -> Answer:
    return mesh.push("/pubsub/push", data, role=role, **envelope)


def test_the_answer_has_the_fields_of_the_contract(mesh: Mesh) -> None:
    answer = run(mesh, payload={"msg": "hi"}, traceId="trace-of-mine")
    assert answer.status == 200
    expected = {"status": "succeeded", "costCents": 5, "idempotent": False, "traceId": "trace-of-mine"}
    assert answer.json.items() >= expected.items()
    assert answer.json["result"]["echo"] == {"msg": "hi"}


def test_a_replay_is_marked_and_costs_nothing_more(mesh: Mesh) -> None:
    key, word, (used, _) = unique("key"), unique(), mesh.budget("actor")
    first = run(mesh, "actor", idempotencyKey=key, payload={"word": word}, traceId="t").json
    again = run(mesh, "actor", idempotencyKey=key, payload={"word": word}, traceId="t").json
    assert (first["idempotent"], again["idempotent"]) == (False, True)
    assert again == first | {"idempotent": True}
    assert mesh.starts(word) == [1]
    assert mesh.budget("actor")[0] - used == 2


def test_fifty_at_once_with_one_key_are_one_run_and_one_charge(mesh: Mesh) -> None:
    key, word, (used, _) = unique("key"), unique(), mesh.budget("actor")
    answers = at_once(50, lambda _: run(mesh, "actor", idempotencyKey=key, payload={"word": word}))
    assert {answer.status for answer in answers} <= {200, 429}
    for answer in answers:
        if answer.status == 429:
            assert answer.json["code"] == "busy"
            assert int(answer.headers["retry-after"]) > 0
    assert mesh.starts(word) == [1]
    assert mesh.budget("actor")[0] - used == 2
    assert run(mesh, "actor", idempotencyKey=key, payload={"word": word}).json["idempotent"] is True


def test_the_key_with_another_payload_is_409(mesh: Mesh) -> None:
    key = unique("key")
    run(mesh, idempotencyKey=key, payload={"n": 1})
    assert run(mesh, idempotencyKey=key, payload={"n": 2}).refusal == (409, "idempotency_conflict")


def test_the_key_belongs_to_its_caller(mesh: Mesh) -> None:
    key, word = unique("key"), unique()
    run(mesh, "actor", idempotencyKey=key, payload={"word": word})
    theirs = run(mesh, "actor", idempotencyKey=key, payload={"word": word}, email=mesh.other_caller)
    assert theirs.json["idempotent"] is False
    assert mesh.starts(word) == [1, 1]


def test_a_caller_who_names_a_task_does_not_touch_it(mesh: Mesh) -> None:
    task_id = mesh.accepted("actor", notBefore=time.time() + 40)["taskId"]
    answer = run(mesh, "actor", taskId=task_id, payload={"mine": True})
    assert answer.json["status"] == "succeeded"
    time.sleep(0.5)
    assert mesh.task(task_id)["status"] == "accepted", "only the orchestrator runs tasks"
    mesh.post(f"/task/{task_id}/cancel")


def test_a_named_task_is_run_once_for_its_caller(mesh: Mesh) -> None:
    task_id, word = unique("task"), unique()
    answers = [run(mesh, "actor", taskId=task_id, payload={"word": word}).json for _ in range(2)]
    assert [answer["idempotent"] for answer in answers] == [False, True]
    assert answers[0]["taskId"] == task_id
    assert mesh.starts(word) == [1]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [({"ttl": 1}, 422, "ttl_expired"), ({"budgetCents": 1}, 402, "budget_exceeded")],
)
def test_what_may_not_run_is_refused_before_it_starts_and_keeps_its_key(
    mesh: Mesh, fields: dict[str, Any], status: int, code: str
) -> None:
    key, word, used = unique("key"), unique(), mesh.budget("actor")
    refused = run(mesh, "actor", payload={"word": word}, idempotencyKey=key, **fields)
    assert refused.refusal == (status, code)
    assert (mesh.starts(word), mesh.budget("actor")) == ([], used)
    assert run(mesh, "actor", payload={"word": word}, idempotencyKey=key).json["idempotent"] is False


def test_a_failed_run_is_an_answer_and_may_be_tried_again_with_its_key(mesh: Mesh) -> None:
    key, word = unique("key"), unique()
    payload = {"act": "fail", "times": 1, "word": word}
    failed = run(mesh, "actor", idempotencyKey=key, payload=payload)
    assert (failed.status, failed.json["status"], failed.json["error"]["code"]) == (200, "failed", "asked_to_fail")
    again = run(mesh, "actor", idempotencyKey=key, payload=payload).json
    assert (again["status"], again["result"]) == ("succeeded", {"attempt": 2})
    assert mesh.starts(word) == [1, 2]


def test_a_terminal_error_is_final_for_its_key(mesh: Mesh) -> None:
    key, word = unique("key"), unique()
    answers = [run(mesh, "actor", idempotencyKey=key, payload={"act": "end", "word": word}).json for _ in range(2)]
    assert [(one["status"], one["idempotent"]) for one in answers] == [("dead", False), ("dead", True)]
    assert mesh.starts(word) == [1]


def test_the_price_of_the_handler_is_charged_for_a_direct_run(mesh: Mesh) -> None:
    used, _ = mesh.budget("metered")
    assert run(mesh, "metered", payload={"cents": 13}).json["costCents"] == 13
    assert mesh.budget("metered")[0] - used == 13


# --- pushes


def test_a_pushed_object_without_an_object_under_payload_is_the_payload(mesh: Mesh) -> None:
    for extra in ({}, {"payload": "a word"}, {"payload": [1]}):
        word = unique()
        assert push(mesh, {"word": word, **extra}).status == 204
        assert mesh.starts(word) == [1]


def test_a_pushed_full_object_is_a_run_request(mesh: Mesh) -> None:
    word = unique()
    full = {"payload": {"word": word}, "ttl": time.time() + 60, "budgetCents": 20, "newer": "field"}
    assert push(mesh, full).status == 204
    assert mesh.starts(word) == [1]


@pytest.mark.parametrize("limits", [{"ttl": 1}, {"budgetCents": 1}])
def test_a_pushed_run_beyond_its_limits_is_acknowledged_and_does_not_start(mesh: Mesh, limits: dict[str, int]) -> None:
    word = unique()
    assert push(mesh, {"payload": {"word": word}, **limits}).status == 204
    assert mesh.starts(word) == []


def test_a_message_delivered_twice_runs_once(mesh: Mesh) -> None:
    word, message_id, (used, _) = unique(), unique("m"), mesh.budget("actor")
    for _ in range(2):
        assert push(mesh, {"word": word}, messageId=message_id).status == 204
    assert mesh.starts(word) == [1]
    assert mesh.budget("actor")[0] - used == 2


def test_two_messages_with_one_key_run_once(mesh: Mesh) -> None:
    word, key = unique(), unique("key")
    assert push(mesh, {"payload": {"word": word}, "idempotencyKey": key}).status == 204
    assert push(mesh, {"payload": {"word": word}}, attributes={"idempotencyKey": key}).status == 204
    assert mesh.starts(word) == [1]


def test_a_failing_message_is_not_acknowledged_and_a_final_one_is(mesh: Mesh) -> None:
    assert push(mesh, {"act": "fail", "times": 9}).refusal == (503, "attempt_failed")
    assert push(mesh, {"act": "break"}).refusal == (503, "attempt_failed")
    assert push(mesh, {"act": "end"}).status == 204


def test_a_message_for_another_agent_is_acknowledged_and_not_run(mesh: Mesh) -> None:
    word = unique()
    assert push(mesh, {"word": word}, attributes={"agent": "light"}).status == 204
    assert mesh.starts(word) == []


def test_the_trace_of_a_message_goes_on_into_the_result(mesh: Mesh) -> None:
    trace_id = unique("trace")
    task = mesh.accepted("light", traceId=trace_id)
    assert mesh.ended(task["taskId"])["traceId"] == trace_id


def test_a_payload_published_on_the_topic_is_run(mesh: Mesh) -> None:
    word = unique()
    mesh.publish("tasks", json.dumps({"word": word}).encode(), agent="actor")
    eventually(lambda: mesh.starts(word) == [1])


@pytest.mark.parametrize("data", ["***", "YQ", "A" * 5])
def test_data_that_is_not_base64_is_400(mesh: Mesh, data: str) -> None:
    envelope = envelope_of({})
    envelope["message"]["data"] = data
    answer = mesh.post("/pubsub/push", envelope, role="actor")
    assert answer.refusal == (400, "malformed_request")
    assert answer.fields == {"message.data"}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"nonsense", "message.data"),
        (b"[]", "message.data"),
        ({"payload": {}, "ttl": "soon"}, "message.data.ttl"),
        ({"payload": {}, "budgetCents": True}, "message.data.budgetCents"),
        ({"payload": {}, "callbackUrl": 5}, "message.data.callbackUrl"),
        ({"payload": {}, "idempotencyKey": "\u0000"}, "message.data.idempotencyKey"),
    ],
)
def test_a_message_that_cannot_be_read_names_its_field(mesh: Mesh, data: object, field: str) -> None:
    answer = push(mesh, data)
    assert answer.status in {400, 422}
    assert answer.fields == {field}
