"""`token`: a local ID token for curl."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel

from agent_mesh.cli._command import add_command
from agent_mesh.cli._session import Session


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
    """Print an ID token of the local stack, for curl.

    curl -H "Authorization: Bearer $(agent-mesh token orchestrator)" URL/tasks
    """
    function = session.stack.function(role)
    minted = session.stack.tokens(session.identity).token(session.audience or function.audience)
    answer = TokenAnswer(token=minted, audience=session.audience or function.audience, url=function.url)
    if session.json:
        session.answer(answer)
    else:
        typer.echo(minted)
