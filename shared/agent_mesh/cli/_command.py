"""What makes a function a command: the options that all have, and errors that are explained."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from agent_mesh.cli._failures import exit_code, explain_failure
from agent_mesh.cli._session import Session
from agent_mesh.client import MeshClientError, choose_target

P = ParamSpec("P")
Command = Callable[Concatenate[Session, P], int | None]

_COMMON = "For every command"


_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.", rich_help_panel=_COMMON)]
_Environment = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="NAME",
        help="A mesh that `login` stored; default: AGENT_MESH_ENV, else local, the local stack.",
        rich_help_panel=_COMMON,
    ),
]
_Url = Annotated[
    str | None,
    typer.Option(
        help="The function that the command asks; default: --env's, else AGENT_MESH_URL, else AGENT_MESH_ENV's.",
        rich_help_panel=_COMMON,
    ),
]
_Audience = Annotated[
    str | None,
    typer.Option(
        help="Audience of the ID token; default: the environment's, else the URL; with AGENT_MESH_URL "
        "AGENT_MESH_AUDIENCE.",
        rich_help_panel=_COMMON,
    ),
]
_Identity = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="EMAIL",
        help="Who to be: locally anybody, on Google Cloud a service account that you may impersonate; default: "
        "AGENT_MESH_AS, else the environment's.",
        rich_help_panel=_COMMON,
    ),
]


def _common_options(
    *,
    json: _Json = False,
    environment: _Environment = None,
    url: _Url = None,
    audience: _Audience = None,
    identity: _Identity = None,
) -> Session:
    environment, url, audience, identity = choose_target(environment, url=url, audience=audience, account=identity)
    return Session(json=json, environment=environment, url=url, audience=audience, identity=identity)


def add_command(app: typer.Typer, name: str, command: Command[...], *, addressed: bool = True) -> None:
    """Add a command. Its function gets the session first; what it returns, if anything, is the exit code.

    One that is not `addressed` speaks to no mesh, and has no option or variable that says to which.
    """
    known = inspect.signature(_common_options, eval_str=True).parameters
    common = known if addressed else {"json": known["json"]}
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def run(**values: Any) -> None:  # noqa: ANN401  # Typer fills them in by the signature below
        session = _common_options(**{key: values.pop(key) for key in common})
        raise typer.Exit(_run(session, functools.partial(command, **values)))

    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    run.__signature__ = inspect.Signature([*keyword_only, *common.values()])  # type: ignore[attr-defined]
    app.command(name)(run)


def _run(session: Session, command: Callable[[Session], int | None]) -> int:
    try:
        return command(session) or 0
    except MeshClientError as error:
        explain_failure(session, error)
        return exit_code(error)
