"""The command line as a whole: which commands there are, in the order `--help` shows them."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from agent_mesh.cli import (
    _dead_letters,
    _dispatch,
    _doctor,
    _environments,
    _follow,
    _intent,
    _ledger,
    _login,
    _policy,
    _relay,
    _show,
    _steer,
    _token,
)
from agent_mesh.cli._failures import FAILED, USAGE, usage_problem
from agent_mesh.version import VERSION

app = typer.Typer(
    name="agent-mesh",
    help="Dispatch tasks to agents and see what becomes of them.",
    epilog="Exit codes: 0 fine, 1 failed or refused, 2 wrong usage, 3 the mesh cannot be reached. "
    "Without --env and --url (AGENT_MESH_ENV, AGENT_MESH_URL) the local stack is used, found through .mesh/stack.json "
    "here or in a folder above.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:  # noqa: FBT001  # Typer's signature of an option's callback
    if asked:
        typer.echo(f"agent-mesh {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Dispatch tasks to agents and see what becomes of them."""


_WORK = (_dispatch, _show, _follow, _steer, _dead_letters, _relay, _intent, _policy, _ledger)
for _group in (*_WORK, _login, _environments, _token, _doctor):
    _group.register(app)


def main() -> None:
    """Run the command; the exit code says how it went."""
    logging.getLogger("google.auth").addHandler(logging.NullHandler())  # stderr is for the command's own words
    if "--json" not in sys.argv:
        app()
        return
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        typer.echo(
            usage_problem(error.format_message()).model_dump_json(by_alias=True, exclude_defaults=True), err=True
        )
        code = USAGE
    except typer.Abort:
        code = FAILED
    sys.exit(code if isinstance(code, int) else 0)
