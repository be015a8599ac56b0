"""Ways of a task through the mesh. Each arms its crash at the moment from which on it may happen."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from agent_mesh.client import ProblemError
from agent_mesh.contracts.tasks import Task
from tests.faults.mesh_under_test import AGENT, Ending, MeshUnderTest, eventually, insist

Arm = Callable[[], None]
Story = Callable[[MeshUnderTest, Arm], tuple[str, Ending]]
"""Returns the case, by which its effects are counted, and how it ended."""


def _told(mesh: MeshUnderTest, arm: Arm, **options: Any) -> tuple[str, Ending]:
    case = uuid.uuid4().hex
    arm()
    task = mesh.dispatch(case=case, **options)
    mesh.ended(task.task_id)
    return case, mesh.ending(task, case)


def over_http(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return _told(mesh, arm, mode="http")


def over_pubsub(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return _told(mesh, arm, mode="pubsub")


def with_a_callback(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return _told(mesh, arm, mode="pubsub", callback_url=mesh.receiver.url)


def over_http_with_a_callback(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return _told(mesh, arm, mode="http", callback_url=mesh.receiver.url)


def retried(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return _told(mesh, arm, mode="pubsub", work={"fails_first": True})


def final(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return _told(mesh, arm, mode="pubsub", work={"final": True})


def final_over_http(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return _told(mesh, arm, mode="http", work={"final": True})


def scheduled(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return _told(mesh, arm, mode="pubsub", not_before=time.time() + 1)


def cancelled_before_its_time(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    case = uuid.uuid4().hex
    task = mesh.dispatch(case=case, mode="pubsub", not_before=time.time() + 2)
    arm()
    insist(lambda: mesh.client.cancel(task.task_id))
    time.sleep(2)  # until it would have started
    return case, mesh.ending(task, case)


def cancelled_while_running(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    case = uuid.uuid4().hex
    task = mesh.dispatch(case=case, mode="pubsub", work={"seconds": 20.0})
    eventually(lambda: mesh.run_state(task.task_id) == "running", "it runs")
    arm()
    insist(lambda: mesh.client.cancel(task.task_id))
    mesh.ended(task.task_id)
    return case, mesh.ending(task, case)


@contextlib.contextmanager
def _paused(mesh: MeshUnderTest) -> Iterator[None]:
    insist(lambda: mesh.client.pause(AGENT))
    try:
        yield
    finally:
        insist(lambda: mesh.client.resume(AGENT))


def parked(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    """The agent is paused after its message was published and before it is delivered."""
    case = uuid.uuid4().hex
    mesh.stack.hold_deliveries()
    task = mesh.dispatch(case=case, mode="pubsub")
    with _paused(mesh):
        arm()
        mesh.stack.release_deliveries()
        eventually(lambda: mesh.delivered_to("tasks-probe"), "its message is acknowledged")
    mesh.ended(task.task_id)
    return case, mesh.ending(task, case)


def expired(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    """The agent stays paused for longer than the task lives."""
    case = uuid.uuid4().hex
    with _paused(mesh):
        task = mesh.dispatch(case=case, mode="pubsub", ttl=time.time() + 2)
        arm()
        mesh.ended(task.task_id)
    return case, mesh.ending(task, case)


def too_dear(mesh: MeshUnderTest, arm: Arm, mode: str = "pubsub") -> tuple[str, Ending]:
    """Another task has the last of the day's budget."""
    lift = mesh.leave_room_for(1)
    try:
        first = mesh.dispatch(mode="pubsub", not_before=time.time() + 3)
        arm()
        case = uuid.uuid4().hex
        refused = refused_or_accepted(mesh, case, mode)
        assert mesh.ended(refused.task_id).status.value == "rejected"
        assert mesh.ended(first.task_id).status.value == "succeeded", "an admitted task was refused for another's sake"
        return case, mesh.ending(refused, case)
    finally:
        lift()


def too_dear_over_http(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    return too_dear(mesh, arm, "http")


def refused_or_accepted(mesh: MeshUnderTest, case: str, mode: str) -> Task:
    """After a crash the repeated call finds its own first one, whose refusal is still to come."""
    try:
        return mesh.dispatch(case=case, mode=mode)
    except ProblemError as error:
        task_id = error.problem.task_id
        if error.code != "budget_exceeded" or not task_id:
            raise
    return insist(lambda: mesh.client.task(task_id))


def run_directly(mesh: MeshUnderTest, arm: Arm) -> tuple[str, Ending]:
    """Somebody calls the agent itself; there is no task, only a run with a key."""
    case = uuid.uuid4().hex
    body = {"payload": {"case": case}, "ttl": time.time() + 60, "budgetCents": 5, "idempotencyKey": case}
    url = mesh.stack.url(AGENT)
    headers = {"Authorization": f"Bearer {mesh.stack.token(url)}"}

    def answered() -> dict[str, Any] | None:
        try:
            answer = urllib3.request("POST", f"{url}/run", json=body, headers=headers, retries=False)
        except urllib3.exceptions.HTTPError:
            return None
        return dict(answer.json()) if answer.status == 200 else None

    arm()
    run = eventually(answered, "the run is answered")
    mesh.quiet()
    effects = len({run_id for run_id, _ in mesh.effects(case)})
    return case, Ending(run["status"], run["result"], None, run["costCents"], effects, told=0)
