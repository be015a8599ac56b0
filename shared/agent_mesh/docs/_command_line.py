"""The commands of `agent-mesh` as its `--help` lists them."""

from __future__ import annotations

from collections.abc import Iterator

from agent_mesh.docs._markdown import table


def commands() -> list[tuple[str, str]]:
    """Return every command with the first line of its help, in the order that `--help` shows; groups by their parts."""
    from typer.main import get_command

    from agent_mesh.cli._app import app

    return list(_listed(get_command(app), ""))


def _listed(group: object, prefix: str) -> Iterator[tuple[str, str]]:
    found: dict[str, object] = getattr(group, "commands", {})
    for name, command in found.items():
        if getattr(command, "commands", None):
            yield from _listed(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", _first_line(command)


def help_text() -> str:
    """Return the commands as a table."""
    return table(["command", "what it does"], [[f"`agent-mesh {name}`", words] for name, words in commands()])


def _first_line(command: object) -> str:
    words: str = getattr(command, "help", None) or ""
    return words.strip().splitlines()[0] if words.strip() else ""
