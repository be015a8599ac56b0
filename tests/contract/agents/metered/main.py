"""An agent for the contract tests whose handler sets the price: it charges what `cents` says, and may take up to 20."""

from __future__ import annotations

import flask
import functions_framework
from pydantic import BaseModel

from agent_mesh import Agent, Priced, RetryableError, Run

agent = Agent("metered", price_cents=1, max_cost_cents=20, description="Charges what it is told to.")


class Order(BaseModel):
    """What to charge, in cents; nothing said is the default price."""

    cents: int | None = None
    by_call: bool = False
    fail: bool = False


@agent.handler
def meter(order: Order, run: Run) -> object:
    """Charge through `run.charge` or through the result."""
    if order.fail:
        raise RetryableError("asked to fail after some work", code="asked_to_fail", cost_cents=order.cents or 0)
    if order.cents is None:
        return {"charged": None}
    if order.by_call:
        run.charge(order.cents)
        return {"charged": order.cents}
    return Priced({"charged": order.cents}, order.cents)


@functions_framework.http
def metered(request: flask.Request) -> flask.Response:
    """Serve the agent's endpoints."""
    return agent.serve(request)
