"""The relay: live messages by topic, stored and fanned out."""

from __future__ import annotations

import flask
import functions_framework
import regopy  # type: ignore[import-untyped]  # noqa: F401  # before grpc, or each decision leaks 3 kB

from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings
from agent_mesh.relay.routes import relay_app

app = relay_app(FunctionParts.for_role("relay", Settings.from_environment()))
if flask.has_app_context():  # functions-framework imports this module inside its own application
    app.accept_websockets(flask.current_app)


@functions_framework.http
def relay(request: flask.Request) -> flask.Response:
    """Serve the relay's endpoints."""
    return app.serve(request)
