"""May this run start? Pure rules over the request, the agent's price and the time."""

from __future__ import annotations

from dataclasses import dataclass

from agent_mesh.agents.records import Outcome
from agent_mesh.contracts.runs import RunStatus


@dataclass(frozen=True)
class Price:
    """What a run costs, in cents: `default` unless the handler says otherwise, `maximum` at most."""

    default: int
    maximum: int


def refusal_of(ttl: float | None, budget_cents: int | None, price: Price, now: float) -> Outcome | None:
    """Return how the run ends without starting, None if it may start. `ttl` and `now` are Unix seconds."""
    if ttl is not None and ttl <= now:
        detail = f"ttl {ttl:.3f} passed {now - ttl:.3f} s before the run was delivered."
        return Outcome.refused(RunStatus.EXPIRED, "ttl_expired", detail)
    if budget_cents is not None and price.maximum > budget_cents:
        detail = f"A run may cost {price.maximum} cents and budgetCents allows {budget_cents}."
        return Outcome.refused(RunStatus.REJECTED, "budget_exceeded", detail)
    return None
