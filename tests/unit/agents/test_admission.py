"""Which runs may start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.agents.admission import Price, refusal_of
from agent_mesh.contracts.runs import RunStatus

NOW = 1_800_000_000.0
FIVE_TO_NINE = Price(5, 9)


def refused(ttl: float | None, budget_cents: int | None) -> tuple[RunStatus, str] | None:
    refusal = refusal_of(ttl, budget_cents, FIVE_TO_NINE, NOW)
    if refusal is None:
        return None
    assert refusal.error is not None
    assert (refusal.cost_cents, refusal.result_json) == (0, None)
    return refusal.status, refusal.error.code


def test_a_run_without_limits_may_start() -> None:
    assert refused(None, None) is None


@pytest.mark.parametrize(("ttl", "late"), [(NOW + 0.001, False), (NOW, True), (NOW - 1, True)])
def test_a_run_may_start_until_its_ttl(ttl: float, late: bool) -> None:
    assert refused(ttl, 9) == ((RunStatus.EXPIRED, "ttl_expired") if late else None)


@pytest.mark.parametrize(("budget_cents", "dear"), [(9, False), (8, True), (0, True)])
def test_a_run_is_measured_by_the_most_that_it_may_cost(budget_cents: int, dear: bool) -> None:
    assert refused(NOW + 1, budget_cents) == ((RunStatus.REJECTED, "budget_exceeded") if dear else None)


def test_a_refusal_says_by_how_much() -> None:
    late, dear = (refusal_of(ttl, 8, FIVE_TO_NINE, NOW) for ttl in (NOW - 1.5, None))
    assert late is not None
    assert late.error is not None
    assert "passed 1.500 s before" in late.error.detail
    assert dear is not None
    assert dear.error is not None
    assert "may cost 9 cents and budgetCents allows 8" in dear.error.detail


@given(st.none() | st.floats(0, 4e9), st.none() | st.integers(0), st.floats(0, 4e9))
def test_a_free_run_is_refused_by_time_alone(ttl: float | None, budget_cents: int | None, now: float) -> None:
    refusal = refusal_of(ttl, budget_cents, Price(0, 0), now)
    assert (refusal is not None) == (ttl is not None and ttl <= now)
