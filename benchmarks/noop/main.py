"""An agent that does nothing, made with the SDK: what remains is the mesh's own work."""

from __future__ import annotations

import flask
import functions_framework
from pydantic import JsonValue

from agent_mesh import Agent

agent = Agent("noop", price_cents=1)


@agent.handler
def nothing(payload: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Give the payload back."""
    return payload


@functions_framework.http
def noop(request: flask.Request) -> flask.Response:
    """Serve the agent's endpoints."""
    return agent.serve(request)
