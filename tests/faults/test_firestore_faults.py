"""Every commit and publish of a task's way fails in turn, in every manner; what is left is the same as if none had."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from agent_mesh.contracts.problems import BudgetExceeded, Unavailable
from agent_mesh.contracts.tasks import BatchResponse, ReplayRequest, TaskStatus
from agent_mesh.dispatch.record import TaskRecord
from tests.faults.in_process import (
    AGENT,
    CALLER,
    LEASE_S,
    MAX_ATTEMPTS,
    PRICE,
    REPUBLISH_S,
    STALENESS_S,
    Fault,
    PowerCut,
    Step,
    World,
)

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("firestore_emulator")]
T = TypeVar("T")
Story = Callable[[World], None]
MOST_EFFECTS = 60
"""No story makes so many commits and publishes: the tests end before."""


@dataclass(frozen=True)
class Ending:
    """How the tasks with one payload ended; a refusal may be stored once for each call that was refused."""

    outcomes: frozenset[tuple[TaskStatus, str | None, str | None, int]]
    letters: bool


def insist(call: Callable[[], T]) -> T:
    """Repeat a call that was not answered, as a careful caller does."""
    while True:
        try:
            return call()
        except (PowerCut, Unavailable):
            continue


def dispatched(world: World, n: int, **options: Any) -> str:
    task_id = insist(lambda: world.dispatch(n, idempotency_key=f"key-{n}", **options)).task.task_id
    assert task_id in world.tasks(), "a task was accepted that is not there"
    return task_id


def deliver_all(world: World) -> None:
    for letter in world.post.waiting():
        world.deliver(letter)


def plain(world: World) -> None:
    dispatched(world, 1)


def with_failures(world: World) -> None:
    world.plans[1] = [Step.FAILS, Step.FAILS]
    dispatched(world, 1)


def final(world: World) -> None:
    world.plans[1] = [Step.IS_FINAL] * 9
    dispatched(world, 1)


def always_dying(world: World) -> None:
    world.plans[1] = [Step.DIES] * MAX_ATTEMPTS * 2
    dispatched(world, 1)


def outliving_its_lease(world: World) -> None:
    world.plans[1] = [Step.OUTLIVES_ITS_LEASE]
    dispatched(world, 1)


def delivered_while_it_runs(world: World) -> None:
    world.plans[1] = [Step.IS_DELIVERED_AGAIN]
    dispatched(world, 1)


def scheduled(world: World) -> None:
    dispatched(world, 1, not_before=world.clock.time + 100)


def cancelled(world: World) -> None:
    task_id = dispatched(world, 1, not_before=world.clock.time + 100)
    insist(lambda: world.call(lambda: world.mesh.control.cancel(world.mesh.visible(task_id, CALLER), CALLER)))


def cancelled_on_its_way(world: World) -> None:
    """Its message is published and delivered all the same."""
    task_id = dispatched(world, 1)
    insist(lambda: world.call(lambda: world.mesh.control.cancel(world.mesh.visible(task_id, CALLER), CALLER)))
    deliver_all(world)
    assert not world.starts, "a cancelled task fired"


def pause(world: World) -> None:
    insist(lambda: world.call(lambda: world.mesh.control.pause(AGENT, CALLER)))
    world.clock.time += STALENESS_S


def resume(world: World) -> None:
    insist(lambda: world.call(lambda: world.mesh.control.resume(AGENT, CALLER)))
    insist(lambda: world.call(lambda: world.mesh.sweep().release(AGENT)))


def expired(world: World) -> None:
    pause(world)
    dispatched(world, 1, ttl=world.clock.time + 100)
    world.rest()
    resume(world)


def parked(world: World) -> None:
    dispatched(world, 1)
    pause(world)
    deliver_all(world)
    world.clock.time += 100
    world.sweep()
    resume(world)


def paused_between_attempts(world: World) -> None:
    """The second delivery finds the agent paused, and so does the sweep."""
    world.plans[1] = [Step.FAILS]
    dispatched(world, 1)
    deliver_all(world)
    pause(world)
    deliver_all(world)
    world.clock.time += 100
    world.sweep()
    resume(world)


def resumed_behind_its_back(world: World) -> None:
    """An instance that still takes the agent for paused sweeps after another one has resumed it."""
    dispatched(world, 1)
    world.post.letters.clear()
    world.clock.time += REPUBLISH_S
    pause(world)
    assert world.other.controls.state(AGENT).paused
    resume(world)
    world.sweep(world.other)


def crashed_and_paused(world: World) -> None:
    """The process of the first attempt dies, and the sweep comes while the agent is paused."""
    world.plans[1] = [Step.DIES]
    dispatched(world, 1)
    deliver_all(world)
    pause(world)
    world.clock.time += LEASE_S * 3
    world.sweep()
    world.clock.time += LEASE_S
    world.sweep()
    resume(world)


def too_dear(world: World) -> None:
    """There is room for one run; it is admitted and waits for its time."""
    dispatched(world, 1, not_before=world.clock.time + 300)
    with suppress(BudgetExceeded):
        dispatched(world, 2)


def too_dear_for_what_was_lost(world: World) -> None:
    """There is room for one run; its message is lost, and the sweep finds it while another overdraws the budget."""
    dispatched(world, 1)
    world.post.letters.clear()
    world.clock.time += 1
    with suppress(BudgetExceeded):
        dispatched(world, 2)


def batch(world: World) -> None:
    """There is room for one run, and two are asked for together."""
    tasks: list[Any] = [
        {
            "agent": AGENT,
            "payload": {"n": 1},
            "ttl": world.clock.time + 86_000,
            "budgetCents": PRICE.maximum,
            "idempotencyKey": f"key-{key}",
        }
        for key in range(2)
    ]

    def answered() -> BatchResponse:
        answer = world.call(lambda: world.mesh.batch.dispatch(tasks, CALLER))
        if any(each.status == Unavailable.status for each in answer.results):
            raise Unavailable("Some of it was not answered.", retry_after_s=1)
        return answer

    assert insist(answered).accepted


def replayed(world: World) -> None:
    world.plans[1] = [Step.IS_FINAL] * 9
    task_id = dispatched(world, 1)
    world.rest()
    world.plans.clear()
    task = world.mesh.visible(task_id, CALLER)
    wanted = ReplayRequest(idempotency_key="again")
    insist(lambda: world.call(lambda: world.mesh.control.replay(task, wanted, CALLER)))


STORIES: tuple[Story, ...] = (
    plain,
    with_failures,
    final,
    always_dying,
    outliving_its_lease,
    delivered_while_it_runs,
    scheduled,
    cancelled,
    cancelled_on_its_way,
    expired,
    parked,
    paused_between_attempts,
    resumed_behind_its_back,
    crashed_and_paused,
    too_dear,
    too_dear_for_what_was_lost,
    batch,
    replayed,
)
EXPECTED: dict[Story, dict[int, set[TaskStatus]]] = {
    plain: {1: {TaskStatus.SUCCEEDED}},
    with_failures: {1: {TaskStatus.SUCCEEDED}},
    final: {1: {TaskStatus.DEAD}},
    always_dying: {1: {TaskStatus.DEAD}},
    outliving_its_lease: {1: {TaskStatus.SUCCEEDED}},
    delivered_while_it_runs: {1: {TaskStatus.SUCCEEDED}},
    scheduled: {1: {TaskStatus.SUCCEEDED}},
    cancelled: {1: {TaskStatus.CANCELLED}},
    cancelled_on_its_way: {1: {TaskStatus.CANCELLED}},
    expired: {1: {TaskStatus.EXPIRED}},
    parked: {1: {TaskStatus.SUCCEEDED}},
    paused_between_attempts: {1: {TaskStatus.SUCCEEDED}},
    resumed_behind_its_back: {1: {TaskStatus.SUCCEEDED}},
    crashed_and_paused: {1: {TaskStatus.SUCCEEDED}},
    too_dear: {1: {TaskStatus.SUCCEEDED}, 2: {TaskStatus.REJECTED}},
    too_dear_for_what_was_lost: {1: {TaskStatus.SUCCEEDED}, 2: {TaskStatus.REJECTED}},
    batch: {1: {TaskStatus.SUCCEEDED, TaskStatus.REJECTED}},
    replayed: {1: {TaskStatus.DEAD, TaskStatus.SUCCEEDED}},
}


def limit_of(story: Story) -> int:
    return PRICE.maximum if story in {too_dear, too_dear_for_what_was_lost, batch} else 1_000_000


def told(story: Story, fault: Fault | None = None, at: int = 0) -> tuple[dict[int, Ending], bool]:
    """Let a story happen, with one fault or none; return how it ended and whether there was a fault."""
    with World.running(limit_of(story)) as world:
        if fault is not None:
            world.faults.arm(fault, at)
        story(world)
        world.rest()
        happened = world.faults.disarm()
        check(world, happened=fault is not None and happened)
        return endings(world), happened


def endings(world: World) -> dict[int, Ending]:
    dead = world.dead_tasks()
    found: dict[int, list[TaskRecord]] = {}
    for task in world.tasks().values():
        found.setdefault(json.loads(task.payload_json)["n"], []).append(task)
    return {
        n: Ending(
            frozenset(
                (task.status, task.result_json, task.error.code if task.error else None, task.cost_cents)
                for task in tasks
            ),
            any(task.task_id in dead for task in tasks),
        )
        for n, tasks in found.items()
    }


def check(world: World, *, happened: bool) -> None:
    """What holds at the end of every story: no leak, no overspending, no second effect, no lost dead letter."""
    tasks = world.tasks()
    costs = sum(task.cost_cents for task in tasks.values())
    for used, limit in world.budgets().values():
        assert used == costs, "the budget holds something else than the charges"
        assert used <= limit
    for run_id, successes in world.successes.items():
        assert successes <= 1 + happened + world.excuses[run_id], "a handler ran again without need"
    dead = {task_id for task_id, task in tasks.items() if task.status is TaskStatus.DEAD}
    assert dead <= world.dead_tasks(), "a dead task lies with no dead letter"
    for task_id, task in tasks.items():
        assert world.endings(task_id) <= {task.status.value}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_without_a_fault(story: Story) -> None:
    ending, _ = told(story)
    assert {n: {outcome[0] for outcome in each.outcomes} for n, each in ending.items()} == EXPECTED[story]


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_fault_at_any_commit_or_publish_changes_nothing_in_the_end(story: Story, fault: Fault) -> None:
    expected, _ = told(story)
    for at in range(1, MOST_EFFECTS):
        try:
            ending, happened = told(story, fault, at)
            assert ending == expected
        except AssertionError as error:
            error.add_note(f"with commit or publish number {at}: {fault}")
            raise
        if not happened:
            return
    pytest.fail(f"{story.__name__} makes more than {MOST_EFFECTS} commits and publishes")
