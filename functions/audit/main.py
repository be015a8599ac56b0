"""The audit function: keeps what happened in the ledger, and proves it."""

from __future__ import annotations

import flask
import functions_framework

from agent_mesh.ledger.routes import audit_app
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings

app = audit_app(FunctionParts.for_role("audit", Settings.from_environment()))


@functions_framework.http
def audit(request: flask.Request) -> flask.Response:
    """Serve the audit function's endpoints."""
    return app.serve(request)
