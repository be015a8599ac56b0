"""Lists, timelines and explanations."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contract.mesh import Mesh, Task, task_request, unique


def batch_of_rejected(mesh: Mesh, agent: str, count: int) -> list[str]:
    """Make tasks that list under an agent of their own; many share a millisecond."""
    answer = mesh.post("/dispatch/batch", {"tasks": [task_request(agent) for _ in range(count)]})
    return [one["problem"]["taskId"] for one in answer.json["results"]]


@pytest.mark.parametrize("limit", [1, 7, 30, 200])
def test_pages_have_no_gap_and_no_duplicate(mesh: Mesh, limit: int) -> None:
    agent = unique("listed")
    made = batch_of_rejected(mesh, agent, 30)
    listed = mesh.listed(f"agent={agent}&limit={limit}")
    assert sorted(task["taskId"] for task in listed) == sorted(made)
    assert [task["createdAt"] for task in listed] == sorted((task["createdAt"] for task in listed), reverse=True)


def test_a_page_stays_where_it_was_when_newer_tasks_come(mesh: Mesh) -> None:
    agent = unique("listed")
    made = batch_of_rejected(mesh, agent, 6)
    first = mesh.get(f"/tasks?agent={agent}&limit=3").json
    batch_of_rejected(mesh, agent, 3)
    rest = mesh.listed(f"agent={agent}&cursor={first['nextCursor']}")
    assert sorted(task["taskId"] for task in first["tasks"] + rest) == sorted(made)


def test_filters_by_agent_status_and_key(mesh: Mesh) -> None:
    key = unique("key")
    done = mesh.dispatch("actor", idempotencyKey=key).json
    refused = mesh.dispatch("actor", budgetCents=0).json["taskId"]

    def ids(query: str) -> list[str]:
        return [task["taskId"] for task in mesh.get(f"/tasks?limit=20&{query}").json["tasks"]]

    assert done["taskId"] in ids("agent=actor&status=succeeded")
    assert done["taskId"] not in ids("agent=actor&status=rejected")
    assert done["taskId"] not in ids("agent=light")
    assert refused in ids("agent=actor&status=rejected")
    assert refused not in ids("status=succeeded")
    assert ids(f"idempotencyKey={key}") == [done["taskId"]]


def test_states_of_a_task_on_its_way_filter_as_well(mesh: Mesh) -> None:
    later = mesh.accepted("actor", notBefore=time.time() + 40)["taskId"]
    running = mesh.accepted("actor", payload={"act": "sleep", "seconds": 1.5})["taskId"]
    mesh.in_state(running, "running")

    def ids(status: str) -> set[str]:
        return {task["taskId"] for task in mesh.listed(f"agent=actor&status={status}")} & {later, running}

    assert (ids("accepted"), ids("running"), ids("delivered")) == ({later}, {running}, set())
    mesh.post(f"/task/{later}/cancel")
    mesh.ended(running)


def test_a_caller_lists_only_its_own_tasks(mesh: Mesh) -> None:
    theirs = mesh.dispatch("light", email=mesh.other_caller).json["taskId"]
    mine = mesh.dispatch("light").json["taskId"]
    seen = mesh.get("/tasks?limit=200", email=mesh.other_caller).json["tasks"]
    assert theirs in [task["taskId"] for task in seen]
    assert mine not in [task["taskId"] for task in seen]
    assert {task["caller"] for task in seen} == {mesh.other_caller}


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


CURSORS = {
    "a word": "nonsense",
    "not base64": "***",
    "a path": cursor('[1800000000.0, "a/b"]'),
    "a list as id": cursor('[1800000000.0, ["a"]]'),
    "NaN": cursor('[NaN, "a"]'),
    "endless": cursor('[1e999, "a"]'),
    "before time": cursor('[-1e15, "a"]'),
    "deep": cursor("[" * 300),
    "a reserved id": cursor('[1800000000.0, ".."]'),
    "a surrogate": cursor('[1800000000.0, "\\ud800"]'),
    "one value": cursor("[1800000000.0]"),
    "too long": "x" * 501,
}


@pytest.mark.parametrize("made_up", CURSORS.values(), ids=CURSORS.keys())
def test_a_made_up_cursor_is_refused(mesh: Mesh, made_up: str) -> None:
    answer = mesh.get(f"/tasks?cursor={made_up}")
    assert answer.refusal == (422, "invalid_request")
    assert answer.fields == {"cursor"}


@pytest.mark.parametrize(
    "made_up", ["nonsense", "2026-01-01", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "1e9", "%00"]
)
def test_a_made_up_cursor_of_dead_letters_breaks_nothing(mesh: Mesh, made_up: str) -> None:
    answer = mesh.get(f"/dead?cursor={made_up}")
    assert answer.status == 200 or answer.refusal == (422, "invalid_request"), answer


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=1e999", "limit"),
        ("status=unknown", "status"),
        ("agent=a/b", "agent"),
        ("agent=%00", "agent"),
        ("agent=", "agent"),
        ("agent=%ff%fe", "agent"),
        ("unknown=1", "unknown"),
    ],
)
@pytest.mark.parametrize("path", ["/tasks", "/dead"])
def test_a_wrong_filter_is_named(mesh: Mesh, path: str, query: str, field: str) -> None:
    answer = mesh.get(f"{path}?{query}")
    assert answer.refusal == (422, "invalid_request")
    assert answer.fields == {"status" if path == "/dead" and field == "status" else field}


@pytest.mark.parametrize("task_id", ["a%2Fb", "..%2fx", "%00", "x" * 129, "é", "a%20b"])
def test_an_id_that_cannot_be_one_is_4xx(mesh: Mesh, task_id: str) -> None:
    for path in (f"/task/{task_id}", f"/task/{task_id}/events"):
        answer = mesh.get(path)
        assert answer.status in {404, 422}, answer


def test_pages_of_dead_letters_have_no_gap_where_several_died_at_one_moment(mesh: Mesh) -> None:
    agent, moment = unique("dead"), datetime(2026, 1, 1, tzinfo=UTC)
    letters = mesh.database.collection("dead")
    fields: dict[str, Any] = {"topic": "tasks", "reason": "test", "detail": "", "attempts": 5, "at": moment}
    made = [f"dead_{unique('x')}" for _ in range(5)]
    for dead_id in made:
        letters.document(dead_id).set(fields | {"agent": agent})
    listed = mesh.dead_letters(f"agent={agent}&limit=2")
    assert sorted(letter["deadId"] for letter in listed) == sorted(made)


# --- timeline and explanation


def events_of(mesh: Mesh, task_id: str) -> list[dict[str, Any]]:
    timeline = mesh.get(f"/task/{task_id}/events").json
    events: list[dict[str, Any]] = timeline["events"]
    assert [one["at"] for one in events] == sorted(one["at"] for one in events)
    return events


def test_the_timeline_tells_a_run_in_order_with_its_progress(mesh: Mesh) -> None:
    task_id = mesh.accepted("actor", payload={"act": "work", "seconds": 0.4})["taskId"]
    mesh.ended(task_id)
    events = events_of(mesh, task_id)
    names = [one["event"] for one in events]
    assert names == ["accepted", "claimed", *["progress"] * 4, "finished", "succeeded"]
    progress = [(one["detail"], one["percent"]) for one in events if one["event"] == "progress"]
    assert progress == [("step 0", 0), ("step 1", 25), ("step 2", 50), ("step 3", 75)]
    assert events[1]["attempt"] == 1


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"budgetCents": 0}, ["received", "rejected"]),
        ({"payload": {"act": "fail", "times": 9}}, ["accepted", "claimed", "finished", "failed"]),
        ({"payload": {"act": "end"}}, ["accepted", "claimed", "finished", "dead"]),
    ],
)
def test_the_timeline_tells_every_end(mesh: Mesh, fields: dict[str, Any], names: list[str]) -> None:
    answer = mesh.dispatch("actor", **fields).json
    assert [one["event"] for one in events_of(mesh, answer["taskId"])] == names


def test_the_timeline_of_a_cancelled_task_for_later(mesh: Mesh) -> None:
    task_id = mesh.accepted("actor", notBefore=time.time() + 40)["taskId"]
    assert [one["event"] for one in events_of(mesh, task_id)] == ["accepted", "scheduled"]
    mesh.post(f"/task/{task_id}/cancel")
    assert [one["event"] for one in events_of(mesh, task_id)] == ["accepted", "scheduled", "cancelled"]


def explained(mesh: Mesh, task: Task) -> dict[str, Any]:
    explanation = mesh.get(f"/task/{task['taskId']}/explain").json
    assert explanation["status"] == mesh.task(task["taskId"])["status"]
    assert explanation["next"]
    return dict(explanation)


def test_an_explanation_says_why_and_what_comes_next(mesh: Mesh) -> None:
    later = mesh.accepted("actor", notBefore=time.time() + 40)
    explanation = explained(mesh, later)
    assert "later" in explanation["summary"]
    assert (explanation["facts"]["reservedCents"], explanation["facts"]["agentPaused"]) == (2, False)
    assert 0 < explanation["facts"]["ttlLeftSeconds"] <= 60
    mesh.post(f"/task/{later['taskId']}/cancel")
    assert "cancelled" in explained(mesh, later)["summary"]


def test_an_explanation_of_a_refusal_gives_its_reason(mesh: Mesh) -> None:
    answer = mesh.dispatch("actor", budgetCents=0).json
    explanation = explained(mesh, answer)
    assert explanation["reasons"] == [f"budget_exceeded: {answer['detail']}"]
    assert "refused" in explanation["summary"]
