"""Policy: decides access intents, and keeps the versions of the rules that every role decides by."""

from __future__ import annotations

import flask
import functions_framework
import regopy  # type: ignore[import-untyped]  # noqa: F401  # before grpc, or each decision leaks 3 kB

from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings
from agent_mesh.policy.routes import policy_app

app = policy_app(FunctionParts.for_role("policy", Settings.from_environment()))


@functions_framework.http
def policy(request: flask.Request) -> flask.Response:
    """Serve the policy function's endpoints."""
    return app.serve(request)
