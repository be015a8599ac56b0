"""The dashboard: shows live what happens in the mesh, and proves it."""

from __future__ import annotations

import flask
import functions_framework
import regopy  # type: ignore[import-untyped]  # noqa: F401  # before grpc, or each decision leaks 3 kB

from agent_mesh.dashboard.routes import dashboard_app
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings

app = dashboard_app(FunctionParts.for_role("dashboard", Settings.from_environment()))
if flask.has_app_context():  # functions-framework imports this module inside its own application
    app.answer_static(flask.current_app)


@functions_framework.http
def dashboard(request: flask.Request) -> flask.Response:
    """Serve the dashboard's endpoints."""
    return app.serve(request)
