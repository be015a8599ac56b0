from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent_mesh.contracts.problems import BudgetExceeded, TtlExpired
from agent_mesh.contracts.tasks import BatchAnswer, BatchResponse, Mode, TaskFault, TaskStatus
from tests.unit.cli.conftest import Run
from tests.unit.client.stub_mesh import Answer, Asked, StubMesh, a_task, refusal


def test_a_finished_task_is_shown_with_its_result(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /dispatch"] = Answer(a_task())
    done = run("dispatch", "light", "--payload", '{"message": "hello"}', "--budget", "7", "--ttl", "30", "--key", "k")
    assert done.code == 0
    assert "succeeded" in done.out
    assert '"echo": "hello"' in done.out
    sent = stub.asked[-1].body
    assert sent.pop("ttl") == pytest.approx(time.time() + 30, abs=5)
    assert sent == {
        "agent": "light",
        "payload": {"message": "hello"},
        "budgetCents": 7,
        "idempotencyKey": "k",
        "mode": "http",
    }


def test_json_is_the_task_as_the_wire_has_it_and_nothing_else(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /dispatch"] = Answer(a_task(mode=Mode.PUBSUB, status=TaskStatus.ACCEPTED))
    done = run("dispatch", "light", "--mode", "pubsub", "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["taskId"] == "task_1"


@pytest.mark.parametrize(
    ("status", "code"),
    [(TaskStatus.SUCCEEDED, 0), (TaskStatus.FAILED, 1), (TaskStatus.DEAD, 1), (TaskStatus.RUNNING, 0)],
)
def test_the_exit_code_tells_how_the_task_ended(status: TaskStatus, code: int, stub: StubMesh, run: Run) -> None:
    error = TaskFault(code="handler_failed", detail="boom") if code else None
    stub.rules["POST /dispatch"] = Answer(a_task(status=status, error=error))
    done = run("dispatch", "light")
    assert done.code == code
    assert ("boom" in done.out) is bool(code)


def test_wait_asks_until_the_task_ended(stub: StubMesh, run: Run) -> None:
    looks = [TaskStatus.SUCCEEDED, TaskStatus.RUNNING, TaskStatus.ACCEPTED]
    stub.rules["POST /dispatch"] = Answer(a_task(status=TaskStatus.ACCEPTED), 202)
    stub.rules["GET /task/task_1"] = lambda _asked: Answer(a_task(status=looks.pop()))
    done = run("dispatch", "light", "--mode", "pubsub", "--wait", "--json")
    assert json.loads(done.out)["status"] == "succeeded"
    assert stub.calls() == ["POST /dispatch", *["GET /task/task_1"] * 3]


def test_a_refusal_says_why_and_what_to_do(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /dispatch"] = refusal(BudgetExceeded("A run costs 5 cents, the task allows 1.", task_id="task_9"))
    done = run("dispatch", "light", "--budget", "1")
    assert (done.code, done.out) == (1, "")
    assert "A run costs 5 cents, the task allows 1." in done.err
    assert "agent-mesh explain task_9" in done.err
    assert "--budget" in done.err
    assert "Traceback" not in done.err


def test_a_refusal_in_json_is_the_problem_on_stderr(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /dispatch"] = refusal(TtlExpired("It ended 5 s ago."))
    done = run("dispatch", "light", "--ttl", "-5", "--json")
    assert (done.code, done.out) == (1, "")
    problem = json.loads(done.err)
    assert (problem["code"], problem["status"], problem["traceId"]) == ("ttl_expired", 422, "0123abcd")


def test_the_payload_may_come_from_a_file_or_stdin(stub: StubMesh, run: Run, tmp_path: Path) -> None:
    stub.rules["POST /dispatch"] = Answer(a_task())
    (tmp_path / "p.json").write_text('{"text": "grüße"}', encoding="utf-8")
    assert run("dispatch", "light", "--file", "p.json").code == 0
    assert run("dispatch", "light", "--file", "-", stdin='{"text": "stdin"}').code == 0
    assert [asked.body["payload"]["text"] for asked in stub.asked if asked.body] == ["grüße", "stdin"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--payload", "{"], "--payload: is not JSON"),
        (["--payload", "[1]"], "--payload: is list"),
        (["--payload", "[" * 100_000], "--payload: is not JSON"),
        (["--payload", "{}", "--file", "x"], "not both"),
        (["--file", "no-such-file"], "--file: cannot be read"),
        (["--budget", "-1"], "budget_cents"),
        (["--not-before", "5"], "notBefore needs mode pubsub"),
        (["--batch", "x", "--key", "k"], "each line has its own"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_nothing_is_sent(words: list[str], said: str, stub: StubMesh, run: Run) -> None:
    done = run("dispatch", "light", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert stub.calls() == []


def _accept_all(asked: Asked) -> Answer:
    results = [
        BatchAnswer(status=202, task=a_task(f"task_{request['payload']['n']}", TaskStatus.ACCEPTED, mode=Mode.PUBSUB))
        if request["budgetCents"]
        else BatchAnswer(status=402, problem=BudgetExceeded("too dear", task_id="task_no").to_problem())
        for request in asked.body["tasks"]
    ]
    accepted = sum(answer.task is not None for answer in results)
    return Answer(BatchResponse(results=results, accepted=accepted, refused=len(results) - accepted))


def test_each_line_of_a_batch_is_a_payload_or_a_request(stub: StubMesh, run: Run, tmp_path: Path) -> None:
    stub.rules["POST /dispatch/batch"] = _accept_all
    (tmp_path / "b.jsonl").write_text('{"n": 1}\n\n{"payload": {"n": 2}, "agent": "digest", "budgetCents": 0}\n')
    done = run("dispatch", "light", "--batch", "b.jsonl", "--json")
    sent = stub.asked[-1].body["tasks"]
    assert [(task["agent"], task["payload"], task["budgetCents"], task["mode"]) for task in sent] == [
        ("light", {"n": 1}, 10, "pubsub"),
        ("digest", {"n": 2}, 0, "pubsub"),
    ]
    answer = json.loads(done.out)
    assert (done.code, answer["accepted"], answer["refused"]) == (1, 1, 1)


def test_a_batch_is_waited_for_to_the_last_task(stub: StubMesh, run: Run) -> None:
    stub.rules["POST /dispatch/batch"] = _accept_all
    for number in (1, 2):
        stub.rules[f"GET /task/task_{number}"] = Answer(a_task(f"task_{number}"))
    done = run("dispatch", "light", "--batch", "-", "--wait", stdin='{"n": 1}\n{"n": 2}\n')
    assert done.code == 0
    assert done.out.count("succeeded") == 2


def test_a_batch_that_does_not_end_in_time_is_exit_code_1(
    stub: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_mesh.cli._dispatch.WAIT_GRACE_S", 0.0)
    stub.rules["POST /dispatch/batch"] = _accept_all
    stub.rules["GET /task/task_1"] = Answer(a_task("task_1", TaskStatus.RUNNING))
    done = run("dispatch", "light", "--batch", "-", "--wait", "--ttl", "0.3", stdin='{"n": 1}\n')
    assert done.code == 1
    assert "1 not finished" in done.err


def test_no_line_is_sent_when_one_is_wrong_and_each_fault_names_its_line(stub: StubMesh, run: Run) -> None:
    lines = '{"n": 1}\n{"payload": {}, "budgetCents": -3}\nnonsense\n[]\n'
    done = run("dispatch", "light", "--batch", "-", stdin=lines)
    assert done.code == 2
    assert "line 2.budgetCents" in done.err
    assert "line 3: is not JSON" in done.err
    assert "line 4: is not an object" in done.err
    assert stub.calls() == []


def test_what_was_accepted_before_a_failure_is_printed(stub: StubMesh, run: Run) -> None:
    calls = [0]

    def second_fails(asked: Asked) -> Answer:
        calls[0] += 1
        return _accept_all(asked) if calls[0] == 1 else Answer("gone", 500)

    stub.rules["POST /dispatch/batch"] = second_fails
    done = run("dispatch", "light", "--batch", "-", "--json", stdin="".join(f'{{"n": {n}}}\n' for n in range(501)))
    assert done.code == 1
    assert json.loads(done.out)["accepted"] == 500
    assert json.loads(done.err)["code"] == "http_500"
