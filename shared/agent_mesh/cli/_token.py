"""`token`: an ID token for curl."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel

from agent_mesh.cli._command import add_command
from agent_mesh.cli._input import wrong
from agent_mesh.cli._session import Session
from agent_mesh.client import ORCHESTRATOR, GoogleTokens, Target


class TokenAnswer(BaseModel):
    """A token and what it is for."""

    token: str
    audience: str
    url: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "token", token)


def token(
    session: Session,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="The function it is for, such as orchestrator.")],
) -> None:
    """Print an ID token, for curl.

    curl -H "Authorization: Bearer $(agent-mesh token orchestrator)" URL/tasks
    """
    answer = _local(session, role) if session.target is None else _deployed(session, session.target, role)
    if session.json:
        session.answer(answer)
    else:
        typer.echo(answer.token)


def _local(session: Session, role: str) -> TokenAnswer:
    function = session.stack.function(role)
    audience = session.audience or function.audience
    minted = session.stack.tokens(session.identity).token(audience)
    return TokenAnswer(token=minted, audience=audience, url=function.url)


def _deployed(session: Session, target: Target, role: str) -> TokenAnswer:
    if role != ORCHESTRATOR and session.url is None:
        raise wrong(
            "ROLE", f"is {role!r}, and an environment knows its orchestrator only: give --url of the {role} too"
        )
    minted = GoogleTokens(target.account).token(target.audience)
    return TokenAnswer(token=minted, audience=target.audience, url=target.url)
