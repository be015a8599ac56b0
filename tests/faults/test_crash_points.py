"""A process dies at each named place; delivery and sweep go on; what is left is the same as if nothing had happened."""

from __future__ import annotations

import ast
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import agent_mesh
from agent_mesh.contracts.tasks import TaskStatus
from agent_mesh.platform.crash_points import CRASH_POINTS
from tests.faults import stories
from tests.faults.mesh_under_test import Ending, MeshUnderTest
from tests.faults.stories import Story

pytestmark = pytest.mark.faults

_AT_THE_AGENT = (
    "agent.delivered",
    "agent.claimed",
    "agent.handled",
    "agent.outcome_stored",
    "agent.result_published",
)
_RESULT = ("result.received", "result.settled")
_DISPATCH = ("dispatch.before_accept", "dispatch.accepted")

WAYS: dict[Story, tuple[str, ...]] = {
    stories.over_http: (*_DISPATCH, "dispatch.ran_over_http", *_AT_THE_AGENT[1:], *_RESULT),
    stories.over_pubsub: (*_DISPATCH, "dispatch.published", *_AT_THE_AGENT, *_RESULT),
    stories.with_a_callback: ("agent.result_published", "result.settled", "result.called_back"),
    stories.over_http_with_a_callback: ("dispatch.ran_over_http", "result.called_back"),
    stories.retried: ("agent.handled", "agent.outcome_stored"),
    stories.final: ("agent.outcome_stored", "agent.result_published", "result.settled"),
    stories.final_over_http: ("agent.outcome_stored", "dispatch.ran_over_http"),
    stories.scheduled: ("sweep.republished", "agent.claimed"),
    stories.cancelled_before_its_time: ("cancel.fenced", "result.settled"),
    stories.cancelled_while_running: ("cancel.fenced",),
    stories.parked: ("agent.delivered", "agent.parked"),
    stories.expired: ("sweep.fenced", "result.settled"),
    stories.too_dear: ("dispatch.before_accept", "dispatch.over_budget"),
    stories.too_dear_over_http: ("dispatch.over_budget",),
    stories.run_directly: ("agent.claimed", "agent.handled", "agent.outcome_stored"),
}
"""Every story with the points that it passes."""

_RUNS_AGAIN = {"agent.handled"}
"""The handler is done and nobody knows it: no system can tell, so it runs again, under the same run id."""


@pytest.fixture(scope="session")
def undisturbed(mesh: MeshUnderTest) -> dict[Story, Ending]:
    """How each story ends without a crash; filled as stories are wanted."""
    return {}


@pytest.fixture(autouse=True)
def _nothing_armed(mesh: MeshUnderTest) -> Iterator[None]:
    mesh.disarm()
    yield
    mesh.disarm()


def _expected(mesh: MeshUnderTest, story: Story, known: dict[Story, Ending]) -> Ending:
    if story not in known:
        case, ending = story(mesh, lambda: None)
        known[story] = _anonymous(ending, case)
    return known[story]


def _anonymous(ending: Ending, case: str) -> Ending:
    """Leave out what differs from case to case."""
    return replace(ending, result={"case": "its own"} if ending.result == {"case": case} else ending.result)


@pytest.mark.parametrize(
    ("story", "point"),
    [pytest.param(story, point, id=f"{story.__name__}-{point}") for story, points in WAYS.items() for point in points],
)
def test_a_crash_changes_nothing_in_the_end(
    mesh: MeshUnderTest, undisturbed: dict[Story, Ending], story: Story, point: str
) -> None:
    expected = _expected(mesh, story, undisturbed)
    case, ending = story(mesh, lambda: mesh.arm(point))
    assert mesh.disarm(), f"{story.__name__} never came by {point}"
    ending = _anonymous(ending, case)
    assert ending == expected
    used, accounted = mesh.charged()
    assert used == accounted, "a reservation leaked or a charge was made twice"
    started = Counter(run_id for run_id, _ in mesh.effects(case))
    assert all(times <= 1 + (point in _RUNS_AGAIN) for times in started.values()), started


def test_the_sweep_refuses_what_is_over_the_limit_and_nothing_that_was_admitted(mesh: MeshUnderTest) -> None:
    """Four race for a budget that three others have used up, and the process dies before it can refuse the first."""
    lift = mesh.leave_room_for(3)
    try:
        admitted = [mesh.dispatch(mode="pubsub", not_before=time.time() + 4) for _ in range(3)]
        mesh.arm("dispatch.over_budget")
        with ThreadPoolExecutor(4) as callers:
            cases = [uuid.uuid4().hex for _ in range(4)]
            refused = list(callers.map(lambda case: stories.refused_or_accepted(mesh, case, "pubsub"), cases))
        assert mesh.disarm()
        assert {mesh.ended(task.task_id).status for task in refused} == {TaskStatus.REJECTED}
        assert {mesh.ended(task.task_id).status for task in admitted} == {TaskStatus.SUCCEEDED}
        assert not any(mesh.effects(case) for case in cases)
        mesh.quiet()
        used, accounted = mesh.charged()
        assert used == accounted
    finally:
        lift()


def test_the_undisturbed_stories_end_as_they_should(mesh: MeshUnderTest, undisturbed: dict[Story, Ending]) -> None:
    expected = {
        stories.over_http: Ending("succeeded", {"case": "its own"}, None, 3, effects=1, told=1),
        stories.over_pubsub: Ending("succeeded", {"case": "its own"}, None, 3, effects=1, told=1),
        stories.final: Ending("dead", None, "final", 1, effects=0, told=1, letters=1),
        stories.too_dear: Ending("rejected", None, "budget_exceeded", 0, effects=0, told=1),
        stories.cancelled_before_its_time: Ending("cancelled", None, "cancelled", 0, effects=0, told=1),
        stories.expired: Ending("expired", None, "ttl_expired", 0, effects=0, told=1),
    }
    assert {story: _expected(mesh, story, undisturbed) for story in expected} == expected


def test_every_crash_point_is_reached_by_a_story() -> None:
    # test_ledger.py and test_relay.py have their own
    elsewhere = {point for point in CRASH_POINTS if point.startswith(("audit.", "ledger.", "relay."))}
    assert {point for points in WAYS.values() for point in points} == set(CRASH_POINTS) - elsewhere


def test_the_code_and_the_list_name_the_same_crash_points() -> None:
    assert _points_in_the_code() == set(CRASH_POINTS)
    assert len(set(CRASH_POINTS)) == len(CRASH_POINTS)


def _points_in_the_code() -> set[str]:
    """Every name that is passed to `crash_point`; each must stand there as a literal."""
    found = set()
    for file in Path(agent_mesh.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "crash_point":
                (name,) = node.args
                assert isinstance(name, ast.Constant), f"{file}:{node.lineno}: the name of a crash point is no literal"
                found.add(str(name.value))
    return found
