"""What can never succeed is a dead letter after exactly the configured attempts, listed and replayable."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest

from tests.contract.mesh import Mesh, eventually, unique
from tests.contract.roles import ATTEMPTS

SIZES = itertools.count(10_000, 1_000)
"""A message without a task is told from the others by its size."""


def letter_of_size(mesh: Mesh, data: bytes, agent: str) -> dict[str, Any]:
    """Wait for the dead letter of a message without a task; tests give their messages sizes of their own."""
    unread = f"agent={agent}&reason=deliveries_used_up"
    found = eventually(
        lambda: [one for one in mesh.dead_letters(unread) if one["sizeBytes"] == len(data) and "taskId" not in one]
    )
    assert len(found) == 1
    return found[0]


def test_a_task_that_always_fails_is_dead_after_exactly_the_configured_attempts(mesh: Mesh) -> None:
    word, (used, _) = unique(), mesh.budget("actor")
    task_id = mesh.accepted("actor", payload={"act": "fail", "times": 99, "word": word})["taskId"]
    task = mesh.ended(task_id)
    assert (task["status"], task["error"]["code"], task["costCents"]) == ("dead", "asked_to_fail", 0)
    assert mesh.starts(word) == list(range(1, ATTEMPTS + 1))
    letter = mesh.dead_letter(task_id)
    assert (letter["topic"], letter["reason"], letter["attempts"]) == ("tasks", "asked_to_fail", ATTEMPTS)
    time.sleep(1.2)  # two sweeps
    assert len(mesh.starts(word)) == ATTEMPTS
    assert mesh.budget("actor")[0] == used


def test_a_task_that_fails_fewer_times_succeeds_and_is_charged_once(mesh: Mesh) -> None:
    word, (used, _) = unique(), mesh.budget("actor")
    task_id = mesh.accepted("actor", payload={"act": "fail", "times": ATTEMPTS - 1, "word": word})["taskId"]
    task = mesh.ended(task_id)
    assert (task["status"], task["result"]) == ("succeeded", {"attempt": ATTEMPTS})
    assert mesh.starts(word) == list(range(1, ATTEMPTS + 1))
    assert mesh.budget("actor")[0] - used == 2
    assert not [one for one in mesh.dead_letters("agent=actor") if one.get("taskId") == task_id]


def test_between_two_attempts_the_task_is_delivered_and_explained(mesh: Mesh) -> None:
    task_id = mesh.accepted("actor", payload={"act": "fail", "times": 99})["taskId"]
    mesh.in_state(task_id, "delivered")
    events = [one["event"] for one in mesh.get(f"/task/{task_id}/events").json["events"]]
    assert "attempt_failed" in events
    mesh.ended(task_id)


@pytest.mark.parametrize("mode", ["http", "pubsub"])
def test_a_terminal_error_is_dead_at_once_with_its_dead_letter(mesh: Mesh, mode: str) -> None:
    word = unique()
    answer = mesh.dispatch("actor", payload={"act": "end", "word": word}, mode=mode)
    task = mesh.ended(answer.json["taskId"])
    assert (task["status"], task["error"]["code"], task["error"]["retryable"]) == ("dead", "asked_to_end", False)
    assert mesh.dead_letter(task["taskId"])["reason"] == "asked_to_end"
    assert mesh.starts(word) == [1]


def test_a_dead_letter_is_replayed_as_a_new_task_and_notes_it(mesh: Mesh) -> None:
    word = unique()
    dead = mesh.dispatch("actor", payload={"act": "end", "word": word}).json
    letter = mesh.dead_letter(dead["taskId"])
    answer = mesh.post(f"/dead/{letter['deadId']}/replay")
    new = answer.json["task"]
    assert (answer.status, new["replayOf"]) == (202, dead["taskId"])
    assert mesh.ended(new["taskId"])["status"] == "dead"
    assert mesh.starts(word) == [1, 1]
    noted = mesh.dead_letter(dead["taskId"])
    assert (noted["replayedAs"], noted["deadId"]) == (new["taskId"], letter["deadId"])
    assert mesh.task(dead["taskId"]) == dead


def test_dead_letters_filter_by_agent_reason_and_task(mesh: Mesh) -> None:
    dead = mesh.dispatch("actor", payload={"act": "end"}).json["taskId"]
    mesh.dead_letter(dead)
    (letter,) = mesh.dead_letters(f"taskId={dead}")
    assert letter in mesh.dead_letters("agent=actor&reason=asked_to_end")
    assert letter not in mesh.dead_letters("agent=actor&reason=something_else")
    assert letter not in mesh.dead_letters("agent=light")


POISON = {
    "not JSON": b"this is no JSON",
    "a list": b'["payload"]',
    "a bare number": b"12345",
    "not UTF-8": b'{"payload": "\xff\xfe"}',
    "deep": b'{"payload": ' + b"[" * 50_000,
    "a wrong ttl": b'{"payload": {}, "ttl": "tomorrow"}',
    "a negative budget": b'{"payload": {}, "budgetCents": -1}',
    "a path as task id": b'{"payload": {}, "taskId": "../x"}',
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_a_message_that_nobody_can_read_is_a_dead_letter_after_exactly_the_configured_attempts(
    mesh: Mesh, poison: bytes
) -> None:
    data = poison + b" " * next(SIZES)  # JSON that could be read could be so still
    failed = mesh.stack.deliveries()["tasks-actor"]["failed"]
    mesh.publish("tasks", data, agent="actor")
    letter = letter_of_size(mesh, data, "actor")
    assert (letter["topic"], letter["attempts"], letter["reason"]) == ("tasks", ATTEMPTS, "deliveries_used_up")
    failures = mesh.stack.deliveries()["tasks-actor"]["failed"] - failed
    assert failures >= ATTEMPTS, "other tests' messages may fail meanwhile"


def test_a_dead_message_is_replayed_as_it_was(mesh: Mesh) -> None:
    data = f"no JSON {unique()}{'.' * next(SIZES)}".encode()
    mesh.publish("tasks", data, agent="actor", origin="a test")
    letter = letter_of_size(mesh, data, "actor")
    answer = mesh.post(f"/dead/{letter['deadId']}/replay")
    assert (answer.status, "task" in answer.json) == (202, False)
    again = eventually(
        lambda: [
            one
            for one in mesh.dead_letters("agent=actor")
            if one["sizeBytes"] == len(data) and one["deadId"] != letter["deadId"]
        ]
    )
    assert [one["attempts"] for one in again] == [ATTEMPTS]
    (noted,) = [one for one in mesh.dead_letters("agent=actor") if one["deadId"] == letter["deadId"]]
    assert noted["replayedAs"] == answer.json["messageId"]


def test_a_task_message_of_a_task_nobody_knows_runs_and_its_result_changes_nothing(mesh: Mesh) -> None:
    word, task_id = unique(), unique("task")
    tasks, dead = mesh.count("tasks"), len(mesh.dead_letters())
    run = {"payload": {"word": word}, "ttl": time.time() + 60, "budgetCents": 50, "taskId": task_id}
    mesh.publish("tasks", json.dumps(run).encode(), agent="actor")
    eventually(lambda: mesh.starts(word))
    time.sleep(0.5)
    assert mesh.starts(word) == [1]
    assert (mesh.count("tasks"), len(mesh.dead_letters())) == (tasks, dead)
    assert mesh.get(f"/task/{task_id}").status == 404


def test_a_failing_message_of_a_task_nobody_knows_is_a_dead_letter(mesh: Mesh) -> None:
    word, task_id = unique(), unique("task")
    payload = {"act": "fail", "times": 99, "word": word}
    run = {"payload": payload, "ttl": time.time() + 60, "budgetCents": 50, "taskId": task_id}
    mesh.publish("tasks", json.dumps(run).encode(), agent="actor")
    assert mesh.dead_letter(task_id)["attempts"] == ATTEMPTS
    assert len(mesh.starts(word)) == ATTEMPTS


def test_a_message_for_no_agent_reaches_none(mesh: Mesh) -> None:
    word = unique()
    mesh.publish("tasks", json.dumps({"payload": {"word": word}}).encode())
    mesh.publish("tasks", json.dumps({"payload": {"word": word}}).encode(), agent="nobody")
    mesh.ended(mesh.accepted("actor")["taskId"])
    assert mesh.starts(word) == []


def test_a_dead_letter_that_is_not_there_cannot_be_replayed(mesh: Mesh) -> None:
    assert mesh.post(f"/dead/{unique('dead')}/replay").refusal == (404, "not_found")


def test_a_dead_letter_delivered_twice_is_kept_once(mesh: Mesh) -> None:
    agent = unique("dead")
    message_id = unique("m")
    for _ in range(2):
        assert mesh.push("/pubsub/dead", b"anything", attributes={"agent": agent}, messageId=message_id).status == 204
    assert len(mesh.dead_letters(f"agent={agent}")) == 1


ODD: dict[str, dict[str, str]] = {
    "no name": {"": "x"},
    "a name that Firestore reserves": {"__id__": "x"},
    "dots and ticks": {"a.b": "x", "`": "x", "/": "x"},
    "a long name": {"n" * 1600: "x"},
    "a long reason": {"deadLetterReason": "r" * 1_100_000},
    "a value larger than a document": {"x": "x" * 1_100_000},
    "a count beyond 64 bits": {"CloudPubSubDeadLetterSourceDeliveryCount": "9" * 30},
    "a count beyond all": {"CloudPubSubDeadLetterSourceDeliveryCount": "9" * 5000},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_a_dead_letter_with_odd_attributes_is_kept_all_the_same(mesh: Mesh, odd: dict[str, str]) -> None:
    agent = unique("dead")
    assert mesh.push("/pubsub/dead", b"anything", attributes={**odd, "agent": agent}).status == 204
    assert len(mesh.dead_letters(f"agent={agent}")) == 1


def test_a_dead_letter_larger_than_a_document_is_kept_by_its_size(mesh: Mesh) -> None:
    agent = unique("dead")
    assert mesh.push("/pubsub/dead", b"x" * 1_100_000, attributes={"agent": agent}).status == 204
    (letter,) = mesh.dead_letters(f"agent={agent}")
    assert letter["sizeBytes"] == 1_100_000
    assert mesh.post(f"/dead/{letter['deadId']}/replay").refusal == (409, "conflict")


def test_a_replayed_message_keeps_its_attributes(mesh: Mesh) -> None:
    word = unique()
    attributes = {"agent": "actor", "__odd__": "name", "idempotencyKey": word}
    data = json.dumps({"payload": {"word": word}}).encode()
    assert mesh.push("/pubsub/dead", data, attributes=attributes, subscription="s/tasks-dead").status == 204
    (letter,) = [one for one in mesh.dead_letters("agent=actor") if one["sizeBytes"] == len(data)]
    assert mesh.post(f"/dead/{letter['deadId']}/replay").status == 202
    eventually(lambda: mesh.starts(word) == [1])
    again = {"payload": {"word": word}, "idempotencyKey": word}
    subscription = f"projects/{mesh.stack.project}/subscriptions/tasks-actor"
    assert mesh.push("/pubsub/push", again, role="actor", subscription=subscription).status == 204
    assert mesh.starts(word) == [1], "the key came along"
