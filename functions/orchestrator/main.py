"""The orchestrator: takes tasks, sends them to agents, settles their results."""

from __future__ import annotations

import flask
import functions_framework
import regopy  # type: ignore[import-untyped]  # noqa: F401  # before grpc, or each decision leaks 3 kB

from agent_mesh.dispatch.routes import orchestrator_app
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings

app = orchestrator_app(FunctionParts.for_role("orchestrator", Settings.from_environment()))


@functions_framework.http
def orchestrator(request: flask.Request) -> flask.Response:
    """Serve the orchestrator's endpoints."""
    return app.serve(request)
