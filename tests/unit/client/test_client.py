from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agent_mesh.client import (
    AnswerUnreadable,
    MeshClient,
    MockTransport,
    ProblemError,
    Reply,
    Request,
    RequestInvalid,
    WaitTimedOut,
    dispatch_request,
)
from agent_mesh.contracts.problems import BudgetExceeded
from agent_mesh.contracts.tasks import TaskPage, TaskStatus
from tests.unit.client.stub_mesh import a_task, refusal


class Tokens:
    def token(self, audience: str) -> str:
        return f"token-for-{audience}"


class Clock:
    def __init__(self) -> None:
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return sum(self.naps)

    def sleep(self, seconds: float, /) -> None:
        self.naps.append(seconds)


def mesh_of(handler: Callable[[Request], Reply], **options: Any) -> tuple[MeshClient, MockTransport]:
    transport = MockTransport(handler)
    return MeshClient("https://mesh.test", tokens=Tokens(), transport=transport, **options), transport


def reply(model: Any) -> Reply:
    return Reply(200, {}, model.model_dump_json(by_alias=True).encode())


CALLS: list[tuple[Callable[[MeshClient], object], str, str]] = [
    (lambda mesh: mesh.task("task_1"), "GET", "/task/task_1"),
    (lambda mesh: mesh.tasks(), "GET", "/tasks"),
    (lambda mesh: mesh.tasks(agent="a", status=TaskStatus.DEAD, limit=3), "GET", "/tasks?agent=a&status=dead&limit=3"),
    (lambda mesh: mesh.timeline("task_1"), "GET", "/task/task_1/events"),
    (lambda mesh: mesh.explain("task_1"), "GET", "/task/task_1/explain"),
    (lambda mesh: mesh.cancel("task_1"), "POST", "/task/task_1/cancel"),
    (lambda mesh: mesh.replay("task_1"), "POST", "/task/task_1/replay"),
    (lambda mesh: mesh.pause("light"), "POST", "/agents/light/pause"),
    (lambda mesh: mesh.resume("light"), "POST", "/agents/light/resume"),
    (lambda mesh: mesh.dead(limit=2), "GET", "/dead?limit=2"),
    (lambda mesh: mesh.replay_dead("dead_1"), "POST", "/dead/dead_1/replay"),
    (lambda mesh: mesh.sweep(), "POST", "/sweep"),
    (lambda mesh: mesh.health(), "GET", "/health"),
    (lambda mesh: mesh.dispatch("light", {}, budget_cents=1), "POST", "/dispatch"),
    (lambda mesh: mesh.task("../dispatch?x=1"), "GET", "/task/..%2Fdispatch%3Fx%3D1"),
    (lambda mesh: mesh.task(".."), "GET", "/task/%28..%29"),
]


@pytest.mark.parametrize(("call", "method", "path"), CALLS)
def test_each_call_goes_to_its_path_with_the_callers_token(
    call: Callable[[MeshClient], object], method: str, path: str
) -> None:
    mesh, transport = mesh_of(lambda _request: Reply(418, {}, b""))
    with pytest.raises(ProblemError):
        call(mesh)
    [request] = transport.requests
    assert (request.method, request.url) == (method, f"https://mesh.test{path}")
    assert request.headers["Authorization"] == "Bearer token-for-https://mesh.test"


def test_a_dispatch_carries_exactly_what_was_given() -> None:
    mesh, transport = mesh_of(lambda _request: reply(a_task()))
    payload: dict[str, Any] = {"deep": {"nothing": None, "list": [None, 1.5, "ü"]}, "empty": None}
    task = mesh.dispatch("light", payload, budget_cents=10, ttl=1_900_000_000, idempotency_key="k", mode="pubsub")
    assert json.loads(transport.requests[0].body or b"") == {
        "agent": "light",
        "payload": payload,
        "ttl": 1_900_000_000,
        "budgetCents": 10,
        "idempotencyKey": "k",
        "mode": "pubsub",
    }
    assert (task.status, task.result) == (TaskStatus.SUCCEEDED, {"echo": "hello"})


def test_the_audience_may_differ_from_the_address() -> None:
    mesh, transport = mesh_of(lambda _request: reply(a_task()), audience="another")
    mesh.task("task_1")
    assert transport.requests[0].headers["Authorization"] == "Bearer token-for-another"


def test_a_batch_goes_over_pubsub_and_keeps_nulls_of_the_payload() -> None:
    mesh, transport = mesh_of(lambda _request: Reply(200, {}, b'{"results": [], "accepted": 0, "refused": 0}'))
    mesh.dispatch_batch([dispatch_request("light", {"a": None}, budget_cents=1, ttl=1_900_000_000)])
    [sent] = json.loads(transport.requests[0].body or b"")["tasks"]
    assert sent == {"agent": "light", "payload": {"a": None}, "ttl": 1_900_000_000, "budgetCents": 1, "mode": "pubsub"}


def test_an_empty_batch_is_refused_before_it_is_sent() -> None:
    mesh, transport = mesh_of(lambda _request: reply(a_task()))
    with pytest.raises(RequestInvalid):
        mesh.dispatch_batch([])
    assert transport.requests == []


def test_a_refusal_keeps_the_whole_problem() -> None:
    answer = refusal(BudgetExceeded("The run costs 5 cents.", task_id="task_9"))
    mesh, _ = mesh_of(lambda _request: Reply(answer.status, {}, answer.encoded()))
    with pytest.raises(ProblemError) as caught:
        mesh.dispatch("light", {}, budget_cents=1)
    error = caught.value
    assert (error.status, error.code, error.problem.task_id) == (402, "budget_exceeded", "task_9")
    assert "The run costs 5 cents." in str(error)


def test_a_refusal_of_something_in_front_of_the_mesh_says_so() -> None:
    page = b"<html><title>403 Forbidden</title></html>"
    mesh, _ = mesh_of(lambda _request: Reply(403, {"content-type": "text/html"}, page))
    with pytest.raises(ProblemError) as caught:
        mesh.task("task_1")
    assert caught.value.code == "http_403"
    assert "403 Forbidden" in caught.value.problem.detail


@pytest.mark.parametrize("body", [b"<html>login</html>", b"", b"[]", b'{"taskId": 5}', b"\xff"])
def test_an_answer_that_is_no_task_is_not_taken_for_one(body: bytes) -> None:
    mesh, _ = mesh_of(lambda _request: Reply(200, {}, body))
    with pytest.raises(AnswerUnreadable, match="GET /task/task_1"):
        mesh.task("task_1")


def test_a_redirect_is_no_answer() -> None:
    mesh, _ = mesh_of(lambda _request: Reply(302, {"location": "https://evil.test"}, b""))
    with pytest.raises(AnswerUnreadable):
        mesh.task("task_1")


@pytest.mark.parametrize("url", ["mesh.test", "ftp://mesh.test", "", "http://", "https:///path"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(RequestInvalid, match="base_url"):
        MeshClient(url, tokens=Tokens())


def test_all_tasks_are_read_page_by_page() -> None:
    pages = {
        None: TaskPage(tasks=[a_task("task_3"), a_task("task_2")], next_cursor="two"),
        "two": TaskPage(tasks=[a_task("task_1")]),
    }

    def handle(request: Request) -> Reply:
        return reply(pages["two" if "cursor=two" in request.url else None])

    mesh, transport = mesh_of(handle)
    found = mesh.iter_tasks(page_size=2)
    assert next(found).task_id == "task_3"
    assert len(transport.requests) == 1
    assert [task.task_id for task in found] == ["task_2", "task_1"]


def test_waiting_looks_less_and_less_often_until_the_end() -> None:
    clock = Clock()
    looks = [0]

    def handle(_request: Request) -> Reply:
        looks[0] += 1
        return reply(a_task(status=TaskStatus.SUCCEEDED if looks[0] > 20 else TaskStatus.RUNNING))

    mesh, _ = mesh_of(handle, clock=clock)
    assert mesh.wait("task_1", timeout_s=600).status is TaskStatus.SUCCEEDED
    assert clock.naps == sorted(clock.naps)
    assert clock.naps[0] < 0.1
    assert clock.naps[-1] == 2.0


def test_waiting_ends_in_time_with_the_task_as_it_is() -> None:
    clock = Clock()
    mesh, _ = mesh_of(lambda _request: reply(a_task(status=TaskStatus.RUNNING)), clock=clock)
    with pytest.raises(WaitTimedOut, match="still running after 3 s") as caught:
        mesh.wait("task_1", timeout_s=3)
    assert caught.value.task.status is TaskStatus.RUNNING
    assert clock.monotonic() == pytest.approx(3)
