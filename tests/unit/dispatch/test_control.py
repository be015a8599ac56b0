"""Cancel, replay, pause, resume; batches, lists and callbacks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import JsonValue

from agent_mesh.agents.held_run import Run
from agent_mesh.contracts.problems import BudgetExceeded, Conflict, InvalidRequest, NotFound
from agent_mesh.contracts.tasks import ReplayRequest, TaskStatus
from agent_mesh.dispatch.store import TaskFilter
from tests.unit.dispatch.conftest import CALLER, PRICE, Mesh


def cancel(mesh: Mesh, task_id: str) -> TaskStatus:
    return mesh.orchestrator.control.cancel(mesh.orchestrator.visible(task_id, CALLER), CALLER).status


def test_a_cancelled_task_never_runs_though_its_message_comes(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    assert cancel(mesh, accepted.task_id) is TaskStatus.CANCELLED
    mesh.deliver_tasks()
    mesh.deliver_results()
    assert mesh.handler.calls == []
    assert mesh.task(accepted.task_id).status is TaskStatus.CANCELLED
    assert mesh.spent() == 0


def test_cancelling_twice_is_cancelling_once(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    assert cancel(mesh, accepted.task_id) is cancel(mesh, accepted.task_id) is TaskStatus.CANCELLED


def test_what_has_ended_cannot_be_cancelled(mesh: Mesh) -> None:
    task = mesh.run()
    with pytest.raises(Conflict, match="succeeded"):
        cancel(mesh, task.task_id)


def test_a_task_whose_result_is_under_way_has_ended(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    mesh.deliver_tasks()
    with pytest.raises(Conflict, match="succeeded"):
        cancel(mesh, accepted.task_id)
    assert mesh.task(accepted.task_id).status is TaskStatus.SUCCEEDED


def test_a_running_handler_is_asked_to_stop_and_what_it_charged_stands(mesh: Mesh) -> None:
    def stop_when_asked(_payload: dict[str, JsonValue], run: Run) -> JsonValue:
        assert cancel(mesh, run.run_id) is TaskStatus.ACCEPTED
        mesh.clock.advance(2)
        run.stop_if_cancelled()
        return "not reached"

    mesh.handler.act = stop_when_asked
    task = mesh.run()
    assert (task.status, task.cancel_requested, mesh.spent()) == (TaskStatus.CANCELLED, True, 0)


def test_a_replay_is_a_new_task_with_the_old_payload_and_lifetime(mesh: Mesh) -> None:
    first = mesh.run(payload={"n": 7})
    mesh.clock.advance(1000)
    record = mesh.orchestrator.visible(first.task_id, CALLER)
    again = mesh.orchestrator.control.replay(record, ReplayRequest(), CALLER).task.view()
    assert (again.replay_of, again.ttl) == (first.task_id, mesh.clock.now() + 60)
    mesh.deliver_tasks()
    mesh.deliver_results()
    assert mesh.task(again.task_id).result == {"echo": {"n": 7}}
    assert mesh.task(first.task_id) == first


def test_a_task_that_has_not_ended_cannot_be_replayed(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    with pytest.raises(Conflict):
        mesh.orchestrator.control.replay(mesh.orchestrator.visible(accepted.task_id, CALLER), ReplayRequest(), CALLER)


def test_what_comes_while_an_agent_is_paused_runs_after_it_resumes(mesh: Mesh) -> None:
    before = mesh.dispatch()
    mesh.orchestrator.control.pause("light", CALLER)
    after = mesh.dispatch()
    mesh.deliver_tasks()
    assert mesh.handler.calls == []
    assert {mesh.task(task.task_id).status for task in (before, after)} == {TaskStatus.DELIVERED}
    mesh.orchestrator.control.resume("light", CALLER)
    assert mesh.orchestrator.sweep().release("light") == 2
    mesh.deliver_tasks()
    mesh.deliver_results()
    assert {mesh.task(task.task_id).status for task in (before, after)} == {TaskStatus.SUCCEEDED}


def test_a_sweep_sends_on_what_a_crashed_resume_left(mesh: Mesh) -> None:
    mesh.orchestrator.control.pause("light", CALLER)
    mesh.dispatch()
    mesh.orchestrator.control.resume("light", CALLER)
    assert mesh.orchestrator.sweep().run(0).released == 1
    assert mesh.orchestrator.sweep().run(0).released == 0


def test_a_retry_that_comes_while_the_agent_is_paused_is_not_lost(mesh: Mesh) -> None:
    def fail(_payload: object, _run: object) -> None:
        raise ValueError("a defect of the agent")

    succeed, mesh.handler.act = mesh.handler.act, fail
    accepted = mesh.dispatch()
    messages = mesh.publisher.on("tasks")
    mesh.deliver_tasks(list(messages))
    mesh.orchestrator.control.pause("light", CALLER)
    assert mesh.deliver_tasks(list(messages)) == []  # acknowledged: it is parked
    mesh.handler.act = succeed
    messages.clear()
    mesh.orchestrator.control.resume("light", CALLER)
    mesh.orchestrator.sweep().run(0)
    mesh.deliver_tasks()
    mesh.deliver_results()
    assert mesh.task(accepted.task_id).status is TaskStatus.SUCCEEDED


def test_a_batch_answers_each_task_and_reserves_for_the_accepted_ones(mesh: Mesh) -> None:
    good: JsonValue = {"agent": "light", "payload": {"n": 1}, "ttl": mesh.clock.now() + 60, "budgetCents": 10}
    keyed: JsonValue = {**good, "idempotencyKey": "k"}  # type: ignore[dict-item]
    requests: list[JsonValue] = [good, {"agent": 5}, keyed, "nonsense", {**good, "mode": "http"}, keyed, good]  # type: ignore[dict-item]
    answer = mesh.orchestrator.batch.dispatch(requests, CALLER)
    assert [each.status for each in answer.results] == [202, 422, 202, 422, 422, 202, 202]
    assert answer.results[2].task == answer.results[5].task
    assert (answer.accepted, answer.refused) == (4, 3)
    assert len(mesh.publisher.on("tasks")) == 3
    assert mesh.spent() == 3 * PRICE


def test_a_batch_larger_than_the_budget_is_accepted_up_to_the_limit(mesh: Mesh) -> None:
    mesh.dispatch()
    database = mesh.orchestrator.tasks._database  # the operator's limit
    (budget,) = database.collection("budgets").get()
    budget.reference.update({"limitCents": 11 * PRICE})
    good: JsonValue = {"agent": "light", "payload": {}, "ttl": mesh.clock.now() + 60, "budgetCents": 10}
    answer = mesh.orchestrator.batch.dispatch([good] * 64, CALLER)
    assert [each.status for each in answer.results].count(202) == 10
    assert {each.problem.code for each in answer.results if each.problem} == {"budget_exceeded"}
    assert mesh.spent() == 11 * PRICE


def test_sixty_four_racers_for_ten_places_get_exactly_ten(mesh: Mesh) -> None:
    mesh.dispatch()
    (budget,) = mesh.orchestrator.tasks._database.collection("budgets").get()
    budget.reference.update({"limitCents": 11 * PRICE})
    admitted: list[str] = []
    refused: list[str] = []

    def race() -> None:
        try:
            admitted.append(mesh.dispatch().task_id)
        except BudgetExceeded as refusal:
            refused.append(refusal.code)

    racers = [threading.Thread(target=race) for _ in range(64)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert (len(admitted), len(refused)) == (10, 54)
    assert mesh.spent() == 11 * PRICE


def test_pages_hold_every_task_once_newest_first(mesh: Mesh) -> None:
    made = []
    for _ in range(7):
        made.append(mesh.dispatch().task_id)
        mesh.clock.advance(1)
    seen: list[str] = []
    cursor = None
    while True:
        tasks, cursor = mesh.orchestrator.tasks.page(TaskFilter(caller=CALLER, agent="light"), cursor, 3)
        seen += [task.task_id for task in tasks]
        if cursor is None:
            break
    assert seen == made[::-1]


def test_pages_hold_every_task_of_one_millisecond_once(mesh: Mesh) -> None:
    made = [mesh.dispatch().task_id for _ in range(5)]
    first, cursor = mesh.orchestrator.tasks.page(TaskFilter(), None, 3)
    rest, _ = mesh.orchestrator.tasks.page(TaskFilter(), cursor, 3)
    assert sorted(task.task_id for task in first + rest) == sorted(made)


@pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24", "WzEsICIuLi9hIl0", "W25hbiwgImEiXQ", "é", "A" * 400])
def test_a_made_up_cursor_is_refused(mesh: Mesh, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        mesh.orchestrator.tasks.page(TaskFilter(), cursor, 3)


def test_nobody_sees_another_callers_task(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    with pytest.raises(NotFound):
        mesh.orchestrator.visible(accepted.task_id, "bob@example.com")


class Receiver:
    """Takes callbacks and answers as the test says."""

    def __init__(self) -> None:
        self.answer = 200
        self.ids: list[str] = []
        receiver = self

        class _Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                receiver.ids.append(self.headers["webhook-id"])
                self.send_response(receiver.answer)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes callbacks."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever)
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


def test_a_callback_is_made_once_the_task_has_ended(mesh: Mesh, receiver: Receiver) -> None:
    task = mesh.run(callback_url=receiver.url)
    assert receiver.ids == [task.task_id]
    assert task.callback is not None
    assert (task.callback.status, task.callback.attempts) == ("delivered", 1)


def test_a_callback_that_failed_is_made_again_by_the_sweep_under_the_same_id(mesh: Mesh, receiver: Receiver) -> None:
    receiver.answer = 500
    task = mesh.run(callback_url=receiver.url)
    receiver.answer = 204
    assert mesh.orchestrator.sweep().run(0).callbacks == 0
    mesh.clock.advance(5)
    assert mesh.orchestrator.sweep().run(0).callbacks == 1
    assert receiver.ids == [task.task_id] * 2
    callback = mesh.task(task.task_id).callback
    assert callback is not None
    assert (callback.status, callback.attempts) == ("delivered", 2)


def test_a_callback_that_nobody_takes_is_given_up(mesh: Mesh, receiver: Receiver) -> None:
    receiver.answer = 410
    task = mesh.run(callback_url=receiver.url)
    assert task.callback is not None
    assert (task.callback.status, task.callback.attempts) == ("failed", 1)
    mesh.clock.advance(10_000)
    assert mesh.orchestrator.sweep().run(0).callbacks == 0
