"""`POST /pubsub/results`: the first terminal result counts; late, repeated and foreign ones change nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.mesh import Mesh, assert_problem, envelope_of, eventually, unique


@pytest.fixture
def waiting_task(mesh: Mesh) -> Iterator[str]:
    """A task that no agent has: it is scheduled for later."""
    task_id = mesh.accepted("actor", notBefore=time.time() + 50)["taskId"]
    yield task_id
    mesh.post(f"/task/{task_id}/cancel")


def asked_for_attempt(mesh: Mesh, task_id: str, attempt: int) -> None:
    """Leave the task as the sweep does that asked for another attempt."""
    mesh.database.collection("tasks").document(task_id).update({"attempt": attempt})


def test_a_result_settles_its_task_and_a_duplicate_changes_nothing(mesh: Mesh, waiting_task: str) -> None:
    assert mesh.result(waiting_task, result={"n": 1}, costCents=1).status == 204
    first = mesh.get(f"/task/{waiting_task}").body
    assert mesh.task(waiting_task)["result"] == {"n": 1}
    used = mesh.budget("actor")
    for other in ({"result": {"n": 1}, "costCents": 1}, {"result": {"n": 2}}, {"status": "failed", "costCents": 2}):
        answer = mesh.result(waiting_task, **other)
        assert (answer.status, answer.body) == (204, b"")
    assert mesh.get(f"/task/{waiting_task}").body == first
    assert mesh.budget("actor") == used


def test_a_late_result_of_an_older_attempt_is_ignored(mesh: Mesh, waiting_task: str) -> None:
    asked_for_attempt(mesh, waiting_task, 3)
    assert mesh.result(waiting_task, result="old", attempt=2).status == 204
    assert mesh.task(waiting_task)["status"] == "accepted"
    assert mesh.result(waiting_task, result="new", attempt=3).status == 204
    task = mesh.task(waiting_task)
    assert (task["status"], task["result"], task["attempt"]) == ("succeeded", "new", 3)


def test_a_result_of_a_task_that_is_not_here_is_acknowledged(mesh: Mesh) -> None:
    assert mesh.result(unique("task")).status == 204


def test_a_result_never_charges_more_than_was_reserved(mesh: Mesh, waiting_task: str) -> None:
    used, _ = mesh.budget("actor")
    assert mesh.result(waiting_task, costCents=1000).status == 204
    assert mesh.task(waiting_task)["costCents"] == 2
    assert mesh.budget("actor")[0] == used


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled", "rejected", "dead"])
def test_every_end_but_success_frees_what_it_did_not_cost(mesh: Mesh, waiting_task: str, status: str) -> None:
    used, _ = mesh.budget("actor")
    fault = {"code": "because", "detail": "of a test"}
    assert mesh.result(waiting_task, status=status, error=fault).status == 204
    task = mesh.task(waiting_task)
    assert (task["status"], task["error"]["code"], task["costCents"]) == (status, "because", 0)
    assert mesh.budget("actor")[0] == used - 2


MALFORMED: dict[str, object] = {
    "not JSON": b"nonsense",
    "nothing": b"",
    "a list": [],
    "no fields": {},
    "no status": {"taskId": "task_x", "costCents": 0},
    "unknown status": {"taskId": "task_x", "status": "running", "costCents": 0},
    "negative cost": {"taskId": "task_x", "status": "succeeded", "costCents": -1},
    "cost is a boolean": {"taskId": "task_x", "status": "succeeded", "costCents": True},
    "endless cost": {"taskId": "task_x", "status": "succeeded", "costCents": 10**40},
    "a path as id": {"taskId": "../budgets", "status": "succeeded", "costCents": 0},
    "NaN result": b'{"taskId": "task_x", "status": "succeeded", "costCents": 0, "result": NaN}',
    "deep result": b'{"taskId": "task_x", "status": "succeeded", "costCents": 0, "result": ' + b"[" * 100_000,
    "not UTF-8": b'{"taskId": "\xff"}',
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_result_is_refused(mesh: Mesh, data: object) -> None:
    answer = mesh.push("/pubsub/results", data)
    assert answer.status == 400, answer
    assert_problem(answer)
    assert answer.fields == {"message.data"}


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "endless attempt": {"attempt": 10**30},
    "attempt beyond 64 bits": {"attempt": 2**63},
    "a result larger than a document": {"result": "x" * 1_100_000},
    "a lone surrogate": {"result": "\ud800"},
}


@pytest.mark.parametrize("fields", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_result_that_cannot_be_stored_is_refused_and_the_task_stays(
    mesh: Mesh, waiting_task: str, fields: dict[str, Any]
) -> None:
    answer = mesh.result(waiting_task, **fields)
    assert 400 <= answer.status < 500, answer
    assert mesh.task(waiting_task)["status"] == "accepted"


def test_a_reason_longer_than_a_document_is_shortened(mesh: Mesh, waiting_task: str) -> None:
    fault = {"code": "long", "detail": "x" * 1_100_000}
    assert mesh.result(waiting_task, status="failed", error=fault).status == 204
    task = mesh.task(waiting_task)
    assert (task["status"], task["error"]["code"], task["error"]["detail"]) == ("failed", "long", "x" * 2000)


@pytest.mark.parametrize("data", ["***", "YQ", "é", "YQ==YQ=="])
def test_data_that_is_not_base64_is_refused(mesh: Mesh, data: str) -> None:
    envelope = envelope_of({})
    envelope["message"]["data"] = data
    assert mesh.post("/pubsub/results", envelope).refusal == (400, "malformed_request")


def test_fields_of_a_newer_pubsub_are_ignored(mesh: Mesh, waiting_task: str) -> None:
    envelope = envelope_of({"taskId": waiting_task, "status": "succeeded", "costCents": 0, "newer": 1}, newer=True)
    envelope["message"] |= {"message_id": "1", "publish_time": "2026-01-01T00:00:00Z", "newer": {}}
    assert mesh.post("/pubsub/results", envelope).status == 204
    assert mesh.task(waiting_task)["status"] == "succeeded"


def test_a_malformed_result_on_the_topic_ends_in_the_dead_letters(mesh: Mesh) -> None:
    word = unique()
    mesh.publish("results", b"nonsense " + word.encode(), agent=word)
    (letter,) = eventually(lambda: mesh.dead_letters(f"agent={word}"))
    assert (letter["topic"], letter["attempts"], letter["sizeBytes"]) == ("results", 5, len(word) + 9)
    assert "taskId" not in letter
