"""What the sweep repairs, on a real Firestore."""

from __future__ import annotations

import pytest

from agent_mesh.agents.held_run import Run
from agent_mesh.contracts.problems import BudgetExceeded
from agent_mesh.contracts.tasks import TaskStatus
from agent_mesh.dispatch.admission import Terms, new_task
from agent_mesh.platform.clock import moment
from tests.unit.dispatch.conftest import CALLER, PRICE, Mesh


class PowerCut(BaseException):
    """The process is gone."""


def test_a_task_that_was_never_published_is(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    mesh.publisher.messages.clear()
    assert mesh.orchestrator.sweep().run(0).republished == 0
    mesh.clock.advance(10)
    assert mesh.orchestrator.sweep().run(0).republished == 1
    mesh.deliver_tasks()
    mesh.deliver_results()
    assert mesh.task(accepted.task_id).status is TaskStatus.SUCCEEDED


def test_a_result_that_was_lost_is_taken_from_the_run(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    mesh.deliver_tasks()
    mesh.publisher.messages.clear()
    mesh.clock.advance(10)
    assert mesh.orchestrator.sweep().run(0).settled == 1
    assert mesh.task(accepted.task_id).status is TaskStatus.SUCCEEDED
    assert mesh.spent() == PRICE


def test_a_crashed_run_starts_again_after_its_lease_and_the_first_is_not_charged(mesh: Mesh) -> None:
    def cut(_payload: object, _run: Run) -> None:
        raise PowerCut

    succeed, mesh.handler.act = mesh.handler.act, cut
    accepted = mesh.dispatch()
    with pytest.raises(PowerCut):
        mesh.deliver_tasks()
    mesh.handler.act = succeed
    mesh.publisher.messages.clear()
    mesh.clock.advance(10)
    assert mesh.orchestrator.sweep().run(0).postponed == 1  # its lease still lives
    mesh.clock.advance(30)
    assert mesh.orchestrator.sweep().run(0).republished == 1
    mesh.deliver_tasks()
    mesh.deliver_results()
    task = mesh.task(accepted.task_id)
    assert (task.status, task.attempt, task.cost_cents, mesh.spent()) == (TaskStatus.SUCCEEDED, 2, PRICE, PRICE)


def test_what_nobody_ran_expires_and_gives_its_reservation_back(mesh: Mesh) -> None:
    accepted = mesh.dispatch()
    mesh.clock.advance(61)
    assert mesh.orchestrator.sweep().run(0).expired == 1
    assert mesh.task(accepted.task_id).status is TaskStatus.EXPIRED
    assert mesh.spent() == 0
    mesh.deliver_tasks()  # the message comes after all
    assert mesh.handler.calls == []


def test_a_task_is_started_five_times_and_then_dead(mesh: Mesh) -> None:
    def cut(_payload: object, _run: Run) -> None:
        raise PowerCut

    mesh.handler.act = cut
    accepted = mesh.dispatch(ttl=mesh.clock.now() + 10_000)
    for _ in range(5):
        with pytest.raises(PowerCut):
            mesh.deliver_tasks()
        mesh.clock.advance(45)
        mesh.orchestrator.sweep().run(0)
        mesh.clock.advance(45)
        mesh.orchestrator.sweep().run(0)
    assert len(mesh.handler.calls) == 5
    assert mesh.task(accepted.task_id).status is TaskStatus.DEAD
    assert mesh.spent() == 0


def test_a_delayed_task_runs_at_its_moment_and_not_before(mesh: Mesh) -> None:
    accepted = mesh.dispatch(not_before=mesh.clock.now() + 30)
    assert not mesh.publisher.on("tasks")
    mesh.clock.advance(29)
    assert mesh.orchestrator.sweep().run(0).republished == 0
    mesh.clock.advance(1)
    assert mesh.orchestrator.sweep().run(0).republished == 1
    mesh.deliver_tasks()
    mesh.deliver_results()
    assert mesh.task(accepted.task_id).status is TaskStatus.SUCCEEDED


def test_a_refusal_that_a_crash_cut_off_is_made_up_for(mesh: Mesh) -> None:
    """Room for two: two were admitted, the third stands over the limit because its process died before the verdict."""
    limit_budget(mesh, 2 * PRICE)
    admitted = [mesh.dispatch(), mesh.dispatch()]
    cut_off = accept_and_die(mesh)
    assert mesh.spent() == 3 * PRICE
    mesh.clock.advance(10)
    report = mesh.orchestrator.sweep().run(0)
    assert (report.rejected, report.republished) == (1, 2)
    assert mesh.task(cut_off).status is TaskStatus.REJECTED
    assert all(mesh.task(task.task_id).status is TaskStatus.ACCEPTED for task in admitted)
    assert mesh.spent() == 2 * PRICE


def test_a_delayed_task_over_the_limit_is_refused_long_before_its_moment(mesh: Mesh) -> None:
    limit_budget(mesh, 0)
    cut_off = accept_and_die(mesh, not_before=mesh.clock.now() + 50)
    mesh.clock.advance(10)
    assert mesh.orchestrator.sweep().run(0).rejected == 1
    assert mesh.task(cut_off).status is TaskStatus.REJECTED
    assert mesh.spent() == 0


def test_while_the_budget_is_overdrawn_nobody_else_is_admitted(mesh: Mesh) -> None:
    limit_budget(mesh, 2 * PRICE)
    mesh.dispatch()
    mesh.dispatch()
    with pytest.raises(BudgetExceeded, match="0 are left"):
        mesh.dispatch()
    assert mesh.spent() == 2 * PRICE


def limit_budget(mesh: Mesh, cents: int) -> None:
    """Set what the agent may spend today."""
    mesh.dispatch()
    budget_id = f"light.{moment(mesh.clock.now()):%Y%m%d}"
    document = mesh.orchestrator.tasks._database.collection("budgets").document(budget_id)
    document.update({"limitCents": cents, "usedCents": 0})
    for snapshot in mesh.orchestrator.tasks._database.collection("tasks").get():
        snapshot.reference.delete()
    mesh.publisher.messages.clear()


def accept_and_die(mesh: Mesh, **changes: object) -> str:
    """Accept a task as a dispatcher does that dies before it reads the verdict."""
    task = new_task(mesh.request(**changes), CALLER, "t", mesh.clock.now(), Terms(PRICE, 10.0, 30))
    mesh.orchestrator.tasks.accept([task])
    return task.task_id
