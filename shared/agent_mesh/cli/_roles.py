"""Which function a command of one role speaks to."""

from __future__ import annotations

from agent_mesh.cli._input import wrong
from agent_mesh.cli._session import Session
from agent_mesh.client import GoogleTokens, RoleClient


def client_of(session: Session, role: str) -> RoleClient:
    """Return a client of a role's function.

    Raises `RequestInvalid` for a deployed mesh without `--url`, for an environment knows its orchestrator only.
    """
    target = session.target
    if target is None:
        return RoleClient.from_stack(role, session.stack, email=session.identity, audience=session.audience)
    if session.url is None:
        raise wrong("--url", f"is missing: an environment knows its orchestrator only, and this asks the {role}")
    return RoleClient(target.url, audience=target.audience, tokens=GoogleTokens(target.account))
