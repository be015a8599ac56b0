from __future__ import annotations

import time
from typing import Any

import pytest

from agent_mesh.client import RequestInvalid, batches, dispatch_request
from agent_mesh.contracts.tasks import Mode


def test_a_task_lives_a_minute_unless_it_is_said() -> None:
    before = time.time()
    request = dispatch_request("light", {}, budget_cents=1)
    assert before + 60 <= request.ttl <= time.time() + 60
    assert dispatch_request("light", {}, budget_cents=1, ttl=1_800_000_000).ttl == 1_800_000_000


def test_a_life_of_zero_seconds_is_not_the_default() -> None:
    assert dispatch_request("light", {}, budget_cents=1, ttl_s=0).ttl <= time.time()


def test_mode_may_be_given_as_the_word() -> None:
    assert dispatch_request("light", {}, budget_cents=1, mode="pubsub").mode is Mode.PUBSUB


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"budget_cents": -1}, "budget_cents"),
        ({"budget_cents": True}, "budget_cents"),
        ({}, "budgetCents"),
        ({"budget_cents": 1, "ttl": float("nan")}, "ttl"),
        ({"budget_cents": 1, "ttl": 1_800_000_000, "ttl_s": 5}, "ttl"),
        ({"budget_cents": 1, "budget_cent": 1}, "budget_cent"),
        ({"budget_cents": 1, "mode": "pigeon"}, "mode"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_sent(options: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        dispatch_request("light", {}, **options)
    assert [fault.field for fault in caught.value.problem.errors or []] == [field]
    assert caught.value.code == "invalid_request"


def test_batches_hold_at_most_500_tasks() -> None:
    request = dispatch_request("light", {}, budget_cents=1)
    assert [len(batch) for batch in batches([request] * 1001)] == [500, 500, 1]


def test_batches_stay_below_what_a_function_takes() -> None:
    request = dispatch_request("light", {"text": "x" * 200_000}, budget_cents=1)
    assert [len(batch) for batch in batches([request] * 15)] == [7, 7, 1]


def test_no_request_makes_no_batch() -> None:
    assert list(batches([])) == []
