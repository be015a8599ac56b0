"""Cancel, schedule for later, pause, resume and replay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.mesh import Answer, Mesh, eventually, unique
from tests.contract.roles import STALENESS_SECONDS

LATEST = 4_102_444_800
Pause = Callable[[str], None]


@pytest.fixture
def pause(mesh: Mesh) -> Iterator[Pause]:
    """Pause an agent until the end of the test."""
    paused: list[str] = []

    def stop(agent: str) -> None:
        paused.append(agent)
        answer = mesh.post(f"/agents/{agent}/pause")
        assert answer.json["paused"] is True
        assert answer.json["by"] == mesh.developer

    yield stop
    for agent in paused:
        mesh.post(f"/agents/{agent}/resume")


def work(word: str, seconds: float = 10.0, act: str = "work") -> dict[str, Any]:
    return {"act": act, "seconds": seconds, "word": word}


# --- cancel


def test_a_task_cancelled_before_it_runs_never_runs_and_costs_nothing(mesh: Mesh, pause: Pause) -> None:
    word, (used, _) = unique(), mesh.budget("actor")
    pause("actor")
    task_id = mesh.accepted("actor", payload={"word": word})["taskId"]
    answer = mesh.post(f"/task/{task_id}/cancel")
    assert (answer.status, answer.json["status"], answer.json["error"]["code"]) == (200, "cancelled", "cancelled")
    mesh.post("/agents/actor/resume")
    mesh.ended(mesh.accepted("actor")["taskId"])
    assert (mesh.starts(word), mesh.task(task_id)["status"]) == ([], "cancelled")
    assert mesh.budget("actor")[0] - used == 2, "only the second task is charged"


def test_a_message_of_a_cancelled_task_that_comes_later_runs_nothing(mesh: Mesh) -> None:
    word = unique()
    task = mesh.accepted("actor", payload={"word": word}, notBefore=time.time() + 40)
    mesh.post(f"/task/{task['taskId']}/cancel")
    run = {"payload": {"word": word}, "ttl": task["ttl"], "budgetCents": 50, "taskId": task["taskId"]}
    assert mesh.push("/pubsub/push", run, role="actor").status == 204
    assert mesh.starts(word) == []
    assert mesh.task(task["taskId"])["status"] == "cancelled"


def test_a_running_handler_is_asked_to_stop_and_stops(mesh: Mesh) -> None:
    word = unique()
    task_id = mesh.accepted("actor", payload=work(word))["taskId"]
    mesh.in_state(task_id, "running")
    answer = mesh.post(f"/task/{task_id}/cancel")
    assert (answer.status, answer.json["cancelRequested"]) == (202, True)
    assert mesh.ended(task_id, 8)["status"] == "cancelled"
    assert mesh.starts(word) == [1]


def test_a_handler_that_does_not_listen_ends_by_its_result(mesh: Mesh) -> None:
    task_id = mesh.accepted("actor", payload=work(unique(), 1.0, "sleep"))["taskId"]
    mesh.in_state(task_id, "running")
    assert mesh.post(f"/task/{task_id}/cancel").status == 202
    assert mesh.ended(task_id)["result"] == {"slept": 1.0}


def test_an_http_caller_whose_task_is_cancelled_gets_the_cancelled_task(mesh: Mesh) -> None:
    word, key = unique(), unique("key")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: mesh.dispatch("actor", payload=work(word), idempotencyKey=key))
        eventually(lambda: mesh.starts(word))
        (task,) = mesh.listed(f"agent=actor&idempotencyKey={key}")
        assert mesh.post(f"/task/{task['taskId']}/cancel").status == 202
        answer = waiting.result()
    assert (answer.status, answer.json["status"]) == (200, "cancelled")


def test_cancelling_twice_is_the_same_and_an_ended_task_is_409(mesh: Mesh) -> None:
    task_id = mesh.accepted("actor", notBefore=time.time() + 40)["taskId"]
    first, second = (mesh.post(f"/task/{task_id}/cancel") for _ in range(2))
    assert (first.status, first.body) == (second.status, second.body)
    done = mesh.dispatch("light").json["taskId"]
    assert mesh.post(f"/task/{done}/cancel").refusal == (409, "conflict")


# --- later


def test_a_task_for_later_runs_then_and_never_before(mesh: Mesh) -> None:
    word, start = unique(), time.time() + 1.5
    task = mesh.accepted("actor", payload={"word": word}, notBefore=start)
    assert task["notBefore"] == start
    assert mesh.ended(task["taskId"])["status"] == "succeeded"
    assert start <= mesh.started_at(word) < start + 5


def test_a_task_for_later_that_was_cancelled_never_fires(mesh: Mesh) -> None:
    word, start = unique(), time.time() + 1
    task_id = mesh.accepted("actor", payload={"word": word}, notBefore=start)["taskId"]
    assert mesh.post(f"/task/{task_id}/cancel").json["status"] == "cancelled"
    time.sleep(2.5)
    assert (mesh.starts(word), mesh.task(task_id)["status"]) == ([], "cancelled")


def test_later_needs_pubsub_and_must_come_before_the_ttl(mesh: Mesh) -> None:
    now = time.time()
    for fields in ({"notBefore": now + 9}, {"mode": "pubsub", "notBefore": now + 9, "ttl": now + 9}):
        answer = mesh.dispatch("actor", **fields)
        assert answer.refusal == (422, "invalid_request")
        assert "notBefore" in answer.json["detail"]


# --- pause and resume


def test_a_task_of_a_paused_agent_waits_and_runs_after_resume(mesh: Mesh, pause: Pause) -> None:
    word = unique()
    pause("actor")
    task_id = mesh.accepted("actor", payload={"word": word})["taskId"]
    time.sleep(1)
    assert mesh.starts(word) == []
    assert "paused" in mesh.get(f"/task/{task_id}/explain").json["summary"]
    resumed = mesh.post("/agents/actor/resume").json
    assert (resumed["paused"], resumed["released"]) == (False, 1)
    assert mesh.ended(task_id, 5)["status"] == "succeeded"
    assert mesh.starts(word) == [1]


def test_a_message_that_reaches_a_paused_agent_is_parked_and_runs_after_resume(mesh: Mesh, pause: Pause) -> None:
    word = unique()
    task = mesh.accepted("actor", payload={"word": word}, notBefore=time.time() + 1.5)
    pause("actor")
    time.sleep(STALENESS_SECONDS + 0.05)
    run = {"payload": {"word": word}, "ttl": task["ttl"], "budgetCents": 50, "taskId": task["taskId"]}
    assert mesh.push("/pubsub/push", run, role="actor").status == 204
    assert mesh.starts(word) == []
    events = [one["event"] for one in mesh.get(f"/task/{task['taskId']}/events").json["events"]]
    assert "parked" in events
    mesh.post("/agents/actor/resume")
    assert mesh.ended(task["taskId"], 5)["status"] == "succeeded"
    assert mesh.starts(word) == [1]


def test_over_http_a_paused_agent_is_409(mesh: Mesh, pause: Pause) -> None:
    word = unique()
    pause("actor")
    answer = mesh.dispatch("actor", payload={"word": word})
    assert answer.refusal == (409, "agent_paused")
    assert mesh.task(answer.json["taskId"])["error"]["code"] == "agent_paused"
    assert mesh.starts(word) == []


def test_an_agent_works_at_once_after_resume_although_it_was_just_told_to_pause(mesh: Mesh, pause: Pause) -> None:
    pause("actor")
    run = {"payload": {}, "ttl": time.time() + 60, "budgetCents": 50}
    time.sleep(STALENESS_SECONDS + 0.05)
    assert mesh.post("/run", run, role="actor").refusal == (409, "agent_paused")
    mesh.post("/agents/actor/resume")
    assert mesh.dispatch("actor").status == 200


def test_an_agent_that_knows_of_its_pause_before_the_orchestrator_is_409_as_well(mesh: Mesh) -> None:
    mesh.dispatch("actor")  # the orchestrator has just read that nothing is paused
    mesh.database.collection("agents").document("actor").set({"paused": True})  # as another instance would
    try:
        time.sleep(STALENESS_SECONDS + 0.05)
        answer = mesh.dispatch("actor")
    finally:
        mesh.post("/agents/actor/resume")
    assert answer.refusal == (409, "agent_paused")
    assert mesh.task(answer.json["taskId"])["status"] == "rejected"


def test_a_paused_agent_keeps_the_answers_it_gave(mesh: Mesh, pause: Pause) -> None:
    key = unique("key")
    first = mesh.dispatch("actor", idempotencyKey=key)
    pause("actor")
    assert mesh.dispatch("actor", idempotencyKey=key).body == first.body


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_an_unknown_agent_can_be_neither_paused_nor_resumed(mesh: Mesh, action: str) -> None:
    assert mesh.post(f"/agents/{unique('nobody')}/{action}").refusal == (404, "agent_unknown")


# --- replay


def replay(mesh: Mesh, task_id: str, **fields: Any) -> Answer:
    return mesh.post(f"/task/{task_id}/replay", fields)


def test_a_replay_is_a_new_task_that_names_the_old_one(mesh: Mesh) -> None:
    word = unique()
    old = mesh.dispatch("actor", payload={"word": word}).json
    answer = replay(mesh, old["taskId"])
    new = answer.json
    assert (answer.status, new["replayOf"], new["mode"]) == (202, old["taskId"], "pubsub")
    assert answer.headers["location"] == f"/task/{new['taskId']}" != f"/task/{old['taskId']}"
    assert mesh.ended(new["taskId"])["status"] == "succeeded"
    assert mesh.starts(word) == [1, 1]
    assert mesh.task(old["taskId"]) == old, "nothing terminal ever changes"


def test_a_replay_may_have_limits_and_a_mode_of_its_own(mesh: Mesh) -> None:
    task_id = mesh.dispatch("light").json["taskId"]
    ttl = time.time() + 99
    again = replay(mesh, task_id, mode="http", budgetCents=7, ttl=ttl)
    assert (again.status, again.json["budgetCents"], again.json["ttl"]) == (200, 7, ttl)
    assert replay(mesh, task_id, budgetCents=0).refusal == (402, "budget_exceeded")
    assert replay(mesh, task_id, ttl=time.time() - 1).refusal == (422, "ttl_expired")


def test_a_task_that_has_not_ended_cannot_be_replayed(mesh: Mesh) -> None:
    task_id = mesh.accepted("actor", notBefore=time.time() + 40)["taskId"]
    assert replay(mesh, task_id).refusal == (409, "conflict")
    mesh.post(f"/task/{task_id}/cancel")


def test_a_task_with_the_latest_ttl_there_is_can_be_replayed(mesh: Mesh) -> None:
    task_id = mesh.dispatch("light", ttl=LATEST).json["taskId"]
    assert replay(mesh, task_id, mode="http").status == 200


def test_a_replay_with_a_key_is_made_once(mesh: Mesh) -> None:
    task_id, key = mesh.dispatch("light").json["taskId"], unique("key")
    assert replay(mesh, task_id, idempotencyKey=key, mode="http").body == (
        replay(mesh, task_id, idempotencyKey=key, mode="http").body
    )
