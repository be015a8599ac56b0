"""What a caller may ask for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agent_mesh.contracts.tasks import (
    BATCH_LIMIT,
    BatchRequest,
    DispatchRequest,
    Mode,
    SweepRequest,
    TaskFault,
    TaskStatus,
)
from agent_mesh.contracts.values import FAULT_LIMIT_CHARACTERS

TTL = 1_800_000_000.0
LEAST = '{"agent": "light", "payload": {}, "ttl": 1800000000, "budgetCents": 0'


def request(**changes: object) -> DispatchRequest:
    given = {"agent": "light", "payload": {}, "ttl": TTL, "budget_cents": 0, "mode": "pubsub"}
    return DispatchRequest.model_validate(given | changes)


def test_a_request_without_a_mode_waits_for_its_answer() -> None:
    asked = DispatchRequest.model_validate_json(LEAST + "}")
    assert (asked.mode, asked.ttl, asked.idempotency_key, asked.not_before) == (Mode.HTTP, TTL, None, None)


def test_a_mode_is_written_as_a_word() -> None:
    assert DispatchRequest.model_validate_json(LEAST + ', "mode": "pubsub"}').mode is Mode.PUBSUB
    with pytest.raises(ValidationError, match="mode"):
        DispatchRequest.model_validate_json(LEAST + ', "mode": "carrier pigeon"}')


@pytest.mark.parametrize("missing", ["agent", "payload", "ttl", "budget_cents"])
def test_agent_payload_ttl_and_budget_must_be_given(missing: str) -> None:
    given = {"agent": "light", "payload": {}, "ttl": TTL, "budget_cents": 0}
    del given[missing]
    with pytest.raises(ValidationError, match="Field required"):
        DispatchRequest.model_validate(given)


def test_a_ttl_in_milliseconds_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 4102444800"):
        request(ttl=TTL * 1000)


def test_a_task_may_wait_for_its_time() -> None:
    assert request(not_before=TTL - 0.001).not_before == TTL - 0.001


@pytest.mark.parametrize("not_before", [TTL, TTL + 1])
def test_a_task_may_not_wait_until_its_ttl(not_before: float) -> None:
    with pytest.raises(ValidationError, match="notBefore must be before ttl"):
        request(not_before=not_before)


def test_nobody_waits_on_the_line_for_a_task_of_later() -> None:
    with pytest.raises(ValidationError, match="notBefore needs mode pubsub"):
        request(not_before=TTL - 1, mode="http")


@pytest.mark.parametrize(("count", "fits"), [(0, False), (1, True), (BATCH_LIMIT, True), (BATCH_LIMIT + 1, False)])
def test_a_batch_has_1_to_500_tasks(count: int, fits: bool) -> None:
    try:
        BatchRequest(tasks=[{}] * count)
    except ValidationError:
        assert not fits
    else:
        assert fits


def test_exactly_the_last_six_states_are_terminal() -> None:
    assert [status.value for status in TaskStatus if not status.terminal] == ["accepted", "delivered", "running"]
    assert len([status for status in TaskStatus if status.terminal]) == 6


def test_a_sweep_stays_less_than_a_minute() -> None:
    assert SweepRequest().wait_seconds == 0
    with pytest.raises(ValidationError):
        SweepRequest(wait_seconds=56)


def test_a_fault_is_short_and_can_be_stored() -> None:
    fault = TaskFault(code="c", detail="\ud800" + "x" * 5000)
    assert fault.detail.encode()
    assert len(fault.detail) == FAULT_LIMIT_CHARACTERS
