"""The roles as they are served: their OpenAPI documents and who may call each route. Nothing connects."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, JsonValue

from agent_mesh.agents.sdk import Agent
from agent_mesh.dashboard.routes import dashboard_app
from agent_mesh.dispatch.routes import orchestrator_app
from agent_mesh.ledger.routes import audit_app
from agent_mesh.platform.app import BODY_LIMIT_BYTES, NOBODY, Access, FunctionApp
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings
from agent_mesh.policy.routes import policy_app
from agent_mesh.relay.routes import relay_app

_WHO: Final = (
    "MESH_CALLERS",
    "MESH_OPERATORS",
    "MESH_VIEWERS",
    "MESH_RUNNERS",
    "MESH_TRUSTED_RUNNERS",
    "MESH_TASK_PUSHERS",
    "MESH_RESULT_PUSHERS",
    "MESH_DEAD_LETTER_PUSHERS",
    "MESH_INTENT_PUSHERS",
    "MESH_EVENT_PUSHERS",
)
_CONVERTED: Final = re.compile(r"<(?:path:)?(\w+)>")
_MARKED: Final = {name: name for name in (*_WHO, "OIDC_AUDIENCE", "PUBSUB_AUDIENCE", "RESULTS_PUBSUB_AUDIENCE")}
"""An environment in which every allow-list holds its own name: what a route admits then says which lists it uses."""


@dataclass(frozen=True)
class Role:
    """One role: its OpenAPI document, and who may call what, by (method, path)."""

    name: str
    openapi: dict[str, Any]
    access: dict[tuple[str, str], Access]
    body_limit: dict[tuple[str, str], int]


@dataclass(frozen=True)
class _Noted:
    access: dict[tuple[str, str], Access] = field(default_factory=dict)
    body_limit: dict[tuple[str, str], int] = field(default_factory=dict)


class _NotingApp(FunctionApp):
    """An app that notes who each of its routes is for."""

    def route(  # noqa: PLR0913  # the signature of what it stands for
        self,
        method: str,
        path: str,
        *,
        access: Access = NOBODY,
        answers: dict[int, type[BaseModel] | None],
        summary: str,
        body_limit: int = BODY_LIMIT_BYTES,
        name: str = "",
    ) -> Callable[[Any], Any]:
        """Note the route, then declare it."""
        notes = self.__dict__.setdefault("noted", _Noted())
        key = (method, _CONVERTED.sub(r"{\1}", path))
        notes.access[key], notes.body_limit[key] = access, body_limit
        return super().route(
            method, path, access=access, answers=answers, summary=summary, body_limit=body_limit, name=name
        )


class _NotingParts(FunctionParts):
    def app(self, role: str, description: str) -> _NotingApp:
        return _NotingApp(role, description, self.settings, self.verifier, self.events)


def orchestrator() -> Role:
    """Return the orchestrator."""
    return _read("orchestrator", orchestrator_app(_parts("orchestrator")))


def policy() -> Role:
    """Return the policy function."""
    return _read("policy", policy_app(_parts("policy")))


def audit() -> Role:
    """Return the audit function."""
    return _read("audit", audit_app(_parts("audit")))


def dashboard() -> Role:
    """Return the dashboard."""
    return _read("dashboard", dashboard_app(_parts("dashboard")))


def agent() -> Role:
    """Return any agent: all have the same routes, because `agent_mesh.Agent` makes them."""
    example = Agent("agent", parts=_parts("agent"))

    @example.handler
    def echo(payload: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return payload

    return _read("agent", example.function().app)


def relay() -> Role:
    """Return the relay."""
    return _read("relay", relay_app(_parts("relay")))


def every_role() -> tuple[Role, ...]:
    """Return all roles, the agents last, in the order of the pages."""
    return orchestrator(), policy(), relay(), audit(), dashboard(), agent()


def _parts(role: str) -> FunctionParts:
    return _NotingParts.for_role(role, Settings.from_environment({"GCP_PROJECT": "none", **_MARKED}))


def _read(name: str, app: FunctionApp) -> Role:
    notes: _Noted = app.__dict__["noted"]
    return Role(name, app.flask.api_doc, notes.access, notes.body_limit)
