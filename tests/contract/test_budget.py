"""An agent's daily budget under a race: the sum of the charges never passes it."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.contract.mesh import Mesh, at_once, eventually, unique

RACERS, ROOM, PRICE = 64, 10, 2


def test_of_sixty_four_racers_exactly_ten_are_admitted(mesh: Mesh) -> None:
    word, limit = unique(), ROOM * PRICE + 1
    mesh.open_budget("miser", limit)
    answers = at_once(RACERS, lambda _: mesh.dispatch("miser", payload={"word": word}))
    assert Counter(answer.status for answer in answers) == {200: ROOM, 402: RACERS - ROOM}
    assert {answer.json["code"] for answer in answers if answer.status == 402} == {"budget_exceeded"}
    charged = sum(answer.json["costCents"] for answer in answers if answer.status == 200)
    assert (charged, len(mesh.starts(word))) == (ROOM * PRICE, ROOM)
    assert mesh.budget("miser") == (charged, limit)
    refused = [mesh.task(answer.json["taskId"]) for answer in answers if answer.status == 402]
    assert {(task["status"], task["costCents"]) for task in refused} == {("rejected", 0)}


def test_of_sixty_four_racers_over_pubsub_exactly_ten_are_admitted_and_no_reservation_leaks(mesh: Mesh) -> None:
    mesh.open_budget("miser", ROOM * PRICE)
    answers = at_once(RACERS, lambda _: mesh.dispatch("miser", mode="pubsub"))
    assert Counter(answer.status for answer in answers) == {202: ROOM, 402: RACERS - ROOM}
    assert mesh.budget("miser")[0] == ROOM * PRICE
    for answer in answers:
        if answer.status == 202:
            mesh.post(f"/task/{answer.json['taskId']}/cancel")
    assert mesh.budget("miser")[0] == 0


def test_direct_runs_race_for_the_same_kind_of_budget(mesh: Mesh) -> None:
    used, limit = mesh.budget("metered")  # a run reserves the most that it may cost: 20
    mesh.open_budget("metered", 5 * 20)
    try:
        run = {"payload": {"cents": 20}, "ttl": time.time() + 60, "budgetCents": 20}
        answers = at_once(32, lambda _: mesh.post("/run", run, role="metered"))
        assert Counter(answer.status for answer in answers) == {200: 5, 402: 27}
        assert mesh.budget("metered") == (100, 100)
        assert mesh.dispatch("metered").refusal == (402, "budget_exceeded"), "tasks draw on the same budget"
    finally:
        mesh.open_budget("metered", max(limit, used, 1_000_000))


def test_what_a_run_did_not_cost_is_free_for_the_next(mesh: Mesh) -> None:
    mesh.open_budget("miser", PRICE)
    for _ in range(3):
        assert mesh.dispatch("miser", payload={"act": "fail", "times": 9}).json["status"] == "failed"
    assert mesh.dispatch("miser").json["status"] == "succeeded"
    answer = mesh.dispatch("miser")
    assert answer.refusal == (402, "budget_exceeded")
    assert "0 are left" in answer.json["detail"]


@pytest.mark.parametrize("mode", ["http", "pubsub"])
def test_a_key_whose_task_the_budget_refused_may_try_again(mesh: Mesh, mode: str) -> None:
    key = unique("key")
    mesh.open_budget("miser", 0)
    assert mesh.dispatch("miser", idempotencyKey=key, mode=mode).refusal == (402, "budget_exceeded")
    mesh.open_budget("miser", PRICE)
    answer = mesh.dispatch("miser", idempotencyKey=key, mode=mode)
    assert answer.status in {200, 202}
    assert "idempotent-replayed" not in answer.headers
    mesh.post(f"/task/{answer.json['taskId']}/cancel")


def test_a_task_that_expires_before_it_runs_gives_its_reservation_back(mesh: Mesh) -> None:
    mesh.open_budget("miser", PRICE)
    task = mesh.dispatch("miser", mode="pubsub", ttl=time.time() + 1).json  # no subscription carries it anywhere
    assert mesh.ended(task["taskId"])["status"] == "expired"
    eventually(lambda: mesh.budget("miser")[0] == 0)
