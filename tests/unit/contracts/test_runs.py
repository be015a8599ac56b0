"""What an agent is asked for, answers and publishes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agent_mesh.contracts.runs import RunMessage, RunRequest, RunResponse, RunResult, RunStatus
from agent_mesh.contracts.tasks import TaskStatus


def test_a_request_needs_its_limits_and_a_message_does_not() -> None:
    with pytest.raises(ValidationError, match="2 validation errors"):
        RunRequest.model_validate_json('{"payload": {}}')
    message = RunMessage.model_validate_json('{"payload": {}}')
    assert (message.ttl, message.budget_cents, message.attempt) == (None, None, 1)


def test_a_request_refuses_unknown_fields_and_a_message_ignores_them() -> None:
    text = '{"payload": {}, "ttl": 1, "budgetCents": 1, "colour": "red"}'
    with pytest.raises(ValidationError, match="extra_forbidden"):
        RunRequest.model_validate_json(text)
    assert RunMessage.model_validate_json(text).ttl == 1


@pytest.mark.parametrize("attempt", ["0", "1000001", "true", "1.0"])
def test_attempts_count_from_1_to_a_million(attempt: str) -> None:
    with pytest.raises(ValidationError, match="attempt"):
        RunMessage.model_validate_json('{"payload": {}, "attempt": ' + attempt + "}")


def test_every_end_of_a_run_is_an_end_of_its_task() -> None:
    assert all(TaskStatus(status.value).terminal for status in RunStatus)


@pytest.mark.parametrize("kind", [RunResponse, RunResult])
@pytest.mark.parametrize("cost", ["-1", "1.5", "true"])
def test_no_answer_gives_money_back(kind: type[RunResponse | RunResult], cost: str) -> None:
    with pytest.raises(ValidationError, match="costCents"):
        kind.model_validate_json('{"taskId": "t", "status": "succeeded", "costCents": ' + cost + "}")


@pytest.mark.parametrize("kind", [RunResponse, RunResult])
def test_no_answer_counts_more_attempts_than_there_can_be(kind: type[RunResponse | RunResult]) -> None:
    with pytest.raises(ValidationError, match="attempt"):
        kind.model_validate_json('{"taskId": "t", "status": "succeeded", "costCents": 1, "attempt": 1000001}')


def test_an_answer_keeps_the_nulls_of_its_result() -> None:
    answer = RunResponse(status=RunStatus.SUCCEEDED, result={"a": None}, cost_cents=0)
    assert '"result":{"a":null}' in answer.model_dump_json(by_alias=True, exclude_none=True)
    assert "taskId" not in answer.model_dump_json(by_alias=True, exclude_none=True)
