"""What a handler may raise."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agent_mesh.agents.errors import AgentError, RetryableError, RunCancelled, TerminalError


def test_an_error_keeps_what_the_caller_is_told_and_charged() -> None:
    error = TerminalError("No such page.", code="page_missing", cost_cents=3)
    assert (str(error), error.detail, error.code, error.cost_cents) == (
        "No such page.",
        "No such page.",
        "page_missing",
        3,
    )


@pytest.mark.parametrize("kind", [AgentError, RetryableError, TerminalError])
def test_an_error_costs_nothing_unless_it_says_so(kind: type[AgentError]) -> None:
    assert (kind("no").cost_cents, kind("no").code) == (0, "agent_error")


def test_a_handler_that_stopped_says_so() -> None:
    stopped = RunCancelled(cost_cents=2)
    assert (stopped.code, stopped.cost_cents) == ("cancelled", 2)
    assert stopped.detail


def test_money_is_never_a_float() -> None:
    with pytest.raises(TypeError):
        AgentError("no", cost_cents=cast("Any", 1.5))
