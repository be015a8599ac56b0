"""The client and the command against the real functions: processes, tokens, Firestore and Pub/Sub."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_mesh.cli._app import app
from agent_mesh.client import MeshClient, ProblemError, dispatch_request
from agent_mesh.contracts.tasks import DeadLetter, Task, TaskStatus
from emulator.stack import LocalStack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack_folder(stack: LocalStack, stack_place: Path) -> Path:
    """A folder in which a local stack runs."""
    assert stack.pids()
    return stack_place


@pytest.fixture(scope="module")
def mesh(stack_folder: Path) -> Iterator[MeshClient]:
    with MeshClient.from_stack(stack_folder / ".mesh" / "stack.json") as mesh:
        yield mesh


def dispatched(mesh: MeshClient) -> Task:
    return mesh.dispatch("light", {"message": "hello"}, budget_cents=10)


def refusal_of(call: Callable[[], object]) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        call()
    return caught.value


def eventually(found: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_a_task_over_http_is_finished_on_return(mesh: MeshClient) -> None:
    task = dispatched(mesh)
    assert (task.status, task.cost_cents, task.agent) == (TaskStatus.SUCCEEDED, 5, "light")
    assert isinstance(task.result, dict)
    assert task.result["echo"] == {"message": "hello"}
    assert mesh.task(task.task_id) == task


def test_a_task_over_pubsub_is_accepted_and_then_finished(mesh: MeshClient) -> None:
    task = mesh.dispatch("digest", {"text": "Agents dispatch tasks."}, budget_cents=2, mode="pubsub")
    assert task.status is TaskStatus.ACCEPTED
    assert mesh.wait(task.task_id, timeout_s=30).status is TaskStatus.SUCCEEDED


def test_a_task_is_listed_told_and_explained(mesh: MeshClient) -> None:
    task = dispatched(mesh)
    assert task.task_id in [one.task_id for one in mesh.tasks(agent="light", status="succeeded", limit=5).tasks]
    assert mesh.timeline(task.task_id).events
    assert mesh.explain(task.task_id).summary


def test_the_listing_goes_on_over_pages(mesh: MeshClient) -> None:
    made = {dispatched(mesh).task_id for _ in range(3)}
    listed = [task.task_id for task in mesh.iter_tasks(agent="light", page_size=1)]
    assert made <= set(listed)
    assert len(listed) == len(set(listed))


def test_each_task_of_a_batch_has_its_own_answer(mesh: MeshClient) -> None:
    fine = dispatch_request("digest", {"text": "One."}, budget_cents=2)
    dear = dispatch_request("digest", {"text": "Two."}, budget_cents=0)
    answer = mesh.dispatch_batch([fine, dear])
    assert (answer.accepted, answer.refused) == (1, 1)
    assert [one.status for one in answer.results] == [202, 402]


def test_a_repeated_key_gives_the_first_task(mesh: MeshClient) -> None:
    key = uuid.uuid4().hex
    first = mesh.dispatch("light", {"n": 1}, budget_cents=5, idempotency_key=key)
    assert mesh.dispatch("light", {"n": 1}, budget_cents=5, idempotency_key=key) == first
    conflict = refusal_of(lambda: mesh.dispatch("light", {"n": 2}, budget_cents=5, idempotency_key=key))
    assert (conflict.status, conflict.code) == (409, "idempotency_conflict")


def test_a_replay_is_a_new_task(mesh: MeshClient) -> None:
    task = dispatched(mesh)
    again = mesh.replay(task.task_id, mode="http")
    assert again.task_id != task.task_id
    assert (again.replay_of, again.status) == (task.task_id, TaskStatus.SUCCEEDED)


def test_a_task_for_later_can_be_cancelled(mesh: MeshClient) -> None:
    start = time.time() + 50
    task = mesh.dispatch("light", {}, budget_cents=5, mode="pubsub", not_before=start, ttl=start + 10)
    assert mesh.cancel(task.task_id).status is TaskStatus.CANCELLED


def test_an_agent_pauses_and_resumes(mesh: MeshClient) -> None:
    try:
        assert mesh.pause("light").paused
    finally:
        assert not mesh.resume("light").paused


def test_a_dead_letter_is_listed_and_replayed(mesh: MeshClient) -> None:
    task = mesh.dispatch("digest", {"text": "```\ncode\n```"}, budget_cents=2, mode="pubsub")
    assert mesh.wait(task.task_id, timeout_s=30).status is TaskStatus.DEAD

    def letters() -> list[DeadLetter]:
        return [letter for letter in mesh.iter_dead() if letter.task_id == task.task_id]

    eventually(lambda: bool(letters()))
    replayed = mesh.replay_dead(letters()[0].dead_id)
    assert replayed.task is not None
    assert replayed.task.replay_of == task.task_id


@pytest.mark.parametrize(
    ("dispatch", "status", "code"),
    [
        (lambda mesh: mesh.dispatch("light", {}, budget_cents=1), 402, "budget_exceeded"),
        (lambda mesh: mesh.dispatch("light", {}, budget_cents=5, ttl_s=-5), 422, "ttl_expired"),
        (lambda mesh: mesh.dispatch("nobody", {}, budget_cents=5), 404, "agent_unknown"),
        (lambda mesh: mesh.task("task_unknown"), 404, "not_found"),
        (lambda mesh: mesh.task("../tasks"), 404, "not_found"),
        (lambda mesh: mesh.tasks(cursor="nonsense"), 422, "invalid_request"),
    ],
    ids=["too dear", "too late", "no such agent", "no such task", "a path as an id", "no such cursor"],
)
def test_a_refusal_has_its_code(
    dispatch: Callable[[MeshClient], object], status: int, code: str, mesh: MeshClient
) -> None:
    error = refusal_of(lambda: dispatch(mesh))
    assert (error.status, error.code) == (status, code)


def test_a_stranger_is_refused(stack_folder: Path) -> None:
    with MeshClient.from_stack(stack_folder / ".mesh" / "stack.json", email="stranger@example.com") as stranger:
        error = refusal_of(lambda: stranger.tasks(limit=1))
    assert (error.status, error.code) == (403, "forbidden")


def test_health_and_sweep_answer(mesh: MeshClient) -> None:
    assert mesh.health()["status"] == "ok"
    assert mesh.sweep().model_dump().keys() >= {"republished", "expired"}


def test_every_command_answers_one_json_document(
    mesh: MeshClient, stack_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stack_folder)
    for name in [name for name in os.environ if name.startswith("AGENT_MESH_")]:
        monkeypatch.delenv(name)
    task_id = dispatched(mesh).task_id
    for words in (
        ["dispatch", "light", "--payload", '{"n": 1}'],
        ["task", task_id],
        ["tasks"],
        ["explain", task_id],
        ["replay", task_id],
        ["dead"],
        ["sweep"],
        ["pause", "digest"],
        ["resume", "digest"],
        ["token", "orchestrator"],
        ["doctor"],
    ):
        result = CliRunner().invoke(app, [*words, "--json"])
        assert result.exit_code == 0, (words, result.stdout, result.stderr)
        assert isinstance(json.loads(result.stdout), dict)
