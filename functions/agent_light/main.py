"""`light`, the reference agent: gives back what it gets. Copy this file to start an agent of your own."""

from __future__ import annotations

import flask
import functions_framework
from pydantic import JsonValue

from agent_mesh import Agent, Run

agent = Agent("light", description="The reference agent: gives back what it gets, at a fixed price a run.")


@agent.handler
def echo(payload: dict[str, JsonValue], run: Run) -> dict[str, JsonValue]:
    """Return the payload as the result, and how often the run was started."""
    return {"echo": payload, "attempt": run.attempt}


@functions_framework.http
def agent_light(request: flask.Request) -> flask.Response:
    """Serve the agent's endpoints."""
    return agent.serve(request)
