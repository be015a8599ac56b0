"""`environments`, `logout`: the deployed meshes that have a name here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer
from pydantic import BaseModel

from agent_mesh.cli._checks import hanging
from agent_mesh.cli._command import add_command
from agent_mesh.cli._session import Session
from agent_mesh.client import LOCAL_STACK, Environment, Environments, environments_file

if TYPE_CHECKING:
    from rich.text import Text

_NAME_WIDTH: Final = 12


class Listed(Environment):
    """One environment of the list; `default` is the one that a command without `--env` and `--url` uses."""

    name: str
    default: bool


class EnvironmentList(BaseModel):
    """All of them, and the name of the default one."""

    file: str
    default: str
    environments: list[Listed]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "environments", environments, addressed=False)
    add_command(app, "logout", logout, addressed=False)


def environments(session: Session) -> None:
    """List the deployed meshes that are stored here.

    A star marks the one that commands go to without --env and --url.
    """
    default = os.environ.get("AGENT_MESH_ENV") or LOCAL_STACK
    found = [
        Listed(name=name, default=name == default, **environment.model_dump())
        for name, environment in sorted(Environments.read().environments.items())
    ]
    answer = EnvironmentList(file=str(environments_file()), default=default, environments=found)
    session.answer(answer, *_lines(found, default, session.out.width))
    if default not in {LOCAL_STACK, *(each.name for each in found)}:
        session.say(f"AGENT_MESH_ENV names {default!r}, which is not stored: commands without --env will fail.")
    if address := os.environ.get("AGENT_MESH_URL"):
        session.say(f"AGENT_MESH_URL is set: commands without --env and --url go to {address}")


def logout(session: Session, name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]) -> None:
    """Forget a deployed mesh.

    Your Google credentials stay; to be rid of them: gcloud auth application-default revoke
    """
    known = Environments.read()
    forgotten = known.named(name)
    known.without(name).write()
    session.answer(forgotten, f"{name} is forgotten: {forgotten.url}")
    if os.environ.get("AGENT_MESH_ENV") == name:
        session.say("AGENT_MESH_ENV still names it: unset AGENT_MESH_ENV")


def _lines(found: list[Listed], default: str, width: int) -> Iterator[Text]:
    yield _line(LOCAL_STACK, ["the stack of the nearest .mesh/stack.json"], width, chosen=default == LOCAL_STACK)
    for each in found:
        facts = [each.url, *([f"as {each.act_as}"] if each.act_as else [])]
        facts += [f"audience {each.audience}"] if each.audience else []
        yield _line(each.name, facts, width, chosen=each.default)


def _line(name: str, facts: list[str], width: int, *, chosen: bool) -> Text:
    from rich.text import Text

    indent = max(_NAME_WIDTH, len(name)) + 4
    wrapped = ("\n" + " " * indent).join(hanging(fact, width, indent) for fact in facts)
    mark = ("* ", "green") if chosen else "  "
    return Text.assemble(mark, (f"{name:<{indent - 2}}", "bold"), wrapped)
