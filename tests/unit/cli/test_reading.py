from __future__ import annotations

import json

import pytest

from agent_mesh.cli._failures import next_step
from agent_mesh.client import ProblemError
from agent_mesh.contracts.problems import Forbidden, NotFound
from agent_mesh.contracts.tasks import (
    DeadLetter,
    DeadLetterPage,
    DeadReplay,
    Explanation,
    TaskFault,
    TaskPage,
    TaskStatus,
    Timeline,
    TimelineEntry,
)
from tests.unit.cli.conftest import Run
from tests.unit.client.stub_mesh import Answer, Asked, StubMesh, a_task, refusal


def test_a_task_shows_its_error_in_words(stub: StubMesh, run: Run) -> None:
    error = TaskFault(code="handler_failed", detail="division by zero", retryable=True)
    stub.rules["GET /task/task_1"] = Answer(a_task(status=TaskStatus.FAILED, error=error))
    done = run("task", "task_1")
    assert done.code == 0
    assert "handler_failed" in done.out
    assert "division by zero" in done.out
    assert "5 ¢ of at most 10 ¢" in done.out
    assert "1.25 s" in done.out


def test_nothing_in_a_task_can_steer_the_terminal(stub: StubMesh, run: Run) -> None:
    error = TaskFault(code="x\x1b[31m", detail="\x1b]0;title\x07 [bold]text[/bold]")
    task = a_task(status=TaskStatus.FAILED, error=error, result={"a": "\x1b[2J\x9b"}, idempotency_key="k")
    stub.rules["GET /task/task_1"] = Answer(task)
    done = run("task", "task_1")
    assert "\x1b" not in done.out
    assert "\x9b" not in done.out
    assert "[bold]text[/bold]" in done.out


def test_a_result_keeps_its_nulls_in_json(stub: StubMesh, run: Run) -> None:
    stub.rules["GET /task/task_1"] = Answer({**json.loads(Answer(a_task()).encoded()), "result": {"a": None}})
    assert json.loads(run("task", "task_1", "--json").out)["result"] == {"a": None}


def test_an_unknown_task_is_exit_code_1_with_a_next_step(stub: StubMesh, run: Run) -> None:
    stub.rules["GET /task/task_x"] = refusal(NotFound("No task 'task_x'."))
    done = run("task", "task_x")
    assert done.code == 1
    assert "No task 'task_x'." in done.err
    assert "agent-mesh tasks" in done.err


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/dead/dead_x", "dead"),
        ("/entries/9", "ledger checkpoint"),
        ("/policies/abc", "policy list"),
        ("/key", "intent publish"),
    ],
)
def test_what_is_not_found_is_looked_for_where_it_would_be(path: str, command: str) -> None:
    error = ProblemError(NotFound("There is none.").to_problem(instance=path), 404)
    assert next_step(error).endswith(f"agent-mesh {command}")


def _pages(asked: Asked) -> Answer:
    numbers = range(1, 6) if "cursor" not in asked.query else range(6, 9)
    size = int(asked.query["limit"][0])
    tasks = [a_task(f"task_{number}") for number in numbers][:size]
    return Answer(TaskPage(tasks=tasks, next_cursor=None if "cursor" in asked.query else "more"))


@pytest.mark.parametrize(("words", "count"), [(["--limit", "3"], 3), (["--limit", "7"], 7), (["--all"], 8)])
def test_tasks_are_listed_up_to_the_limit(words: list[str], count: int, stub: StubMesh, run: Run) -> None:
    stub.rules["GET /tasks"] = _pages
    assert len(json.loads(run("tasks", *words, "--json").out)["tasks"]) == count
    assert run("tasks", *words).out.count("task_") == count


def test_tasks_are_filtered_by_the_orchestrator(stub: StubMesh, run: Run) -> None:
    stub.rules["GET /tasks"] = Answer(TaskPage(tasks=[]))
    done = run("tasks", "--agent", "digest", "--status", "dead")
    assert stub.asked[-1].query == {"agent": ["digest"], "status": ["dead"], "limit": ["20"]}
    assert (done.code, done.out) == (0, "")
    assert "agent-mesh dispatch" in done.err


def test_ids_are_whole_however_narrow_the_terminal(stub: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    task_id = "task_" + "abcdefghijklmnopqrstuvwxyz"
    stub.rules["GET /tasks"] = Answer(TaskPage(tasks=[a_task(task_id)]))
    assert task_id in run("tasks").out


def test_an_explanation_tells_reasons_and_what_comes_next(stub: StubMesh, run: Run) -> None:
    explanation = Explanation(
        task_id="task_1",
        status=TaskStatus.ACCEPTED,
        summary="It waits.",
        reasons=["light is paused"],
        next="It is sent when light is resumed.",
        facts={"paused": True},
    )
    stub.rules["GET /task/task_1/explain"] = Answer(explanation)
    out = run("explain", "task_1").out
    for words in ("It waits.", "light is paused", "It is sent when light is resumed.", '"paused": true'):
        assert words in out


def _timelines(*statuses: TaskStatus) -> list[Answer]:
    events = [
        TimelineEntry(at=f"2026-11-20T09:00:0{n}.000Z", event=event, detail="", percent=50.0 if n == 1 else None)
        for n, event in enumerate(["accepted", "progress", "finished"])
    ]
    return [
        Answer(Timeline(task_id="task_1", status=status, events=events[: n + 1])) for n, status in enumerate(statuses)
    ]


def test_tail_prints_each_event_once_and_ends_with_the_task(stub: StubMesh, run: Run) -> None:
    looks = _timelines(TaskStatus.ACCEPTED, TaskStatus.RUNNING, TaskStatus.SUCCEEDED)[::-1]
    stub.rules["GET /task/task_1/events"] = lambda _asked: looks.pop()
    done = run("tail", "task_1")
    assert done.code == 0
    assert [line.split()[1] for line in done.out.splitlines()] == ["accepted", "progress", "finished"]
    assert "50.0 %" in done.out


def test_tail_of_a_task_that_failed_is_exit_code_1_with_one_json_per_line(stub: StubMesh, run: Run) -> None:
    stub.rules["GET /task/task_1/events"] = _timelines(TaskStatus.FAILED)[0]
    done = run("tail", "task_1", "--json")
    assert done.code == 1
    assert [json.loads(line)["event"] for line in done.out.splitlines()] == ["accepted"]


def test_tail_of_all_tasks_tells_every_change_until_control_c(stub: StubMesh, run: Run) -> None:
    looks = [
        [a_task("task_2"), a_task("task_1")],
        [a_task("task_2", TaskStatus.RUNNING), a_task("task_1")],
        [a_task("task_1", TaskStatus.RUNNING)],
    ]

    def look(_asked: Asked) -> Answer:
        if not looks:
            return refusal(Forbidden("enough"))
        return Answer(TaskPage(tasks=looks.pop()))

    stub.rules["GET /tasks"] = look
    done = run("tail", "--json")
    seen = [(task["taskId"], task["status"]) for task in map(json.loads, done.out.splitlines())]
    assert seen == [("task_1", "running"), ("task_1", "succeeded"), ("task_2", "running"), ("task_2", "succeeded")]


def test_dead_letters_are_listed_and_replayed(stub: StubMesh, run: Run) -> None:
    letter = DeadLetter(
        dead_id="dead_1",
        topic="tasks",
        reason="max_attempts",
        detail="5 deliveries",
        attempts=5,
        at="2026-11-20T09:00:00Z",
        size_bytes=12,
    )
    stub.rules["GET /dead"] = Answer(DeadLetterPage(dead=[letter]))
    stub.rules["POST /dead/dead_1/replay"] = Answer(DeadReplay(dead_id="dead_1", task=a_task("task_7")))
    listed = run("dead")
    assert "dead_1" in listed.out
    assert "max_attempts on tasks: 5 deliveries" in listed.out
    assert "replay-dead" in listed.err
    assert "task_7" in run("replay-dead", "dead_1").out
