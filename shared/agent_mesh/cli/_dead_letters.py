"""`dead`, `replay-dead`: what could not be processed."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from agent_mesh.cli._command import add_command
from agent_mesh.cli._session import Session
from agent_mesh.contracts.tasks import DeadLetterPage


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "dead", dead)
    add_command(app, "replay-dead", replay_dead)


def dead(
    session: Session,
    *,
    agent: Annotated[str | None, typer.Option(help="Only those of this agent.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only those with this reason, such as `handler_failed`.")] = None,
    task: Annotated[str | None, typer.Option(metavar="TASK_ID", help="Only that of this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
) -> None:
    """List what could not be processed, newest first."""
    from agent_mesh.cli._tables import dead_table

    letters = session.client.iter_dead(agent=agent, reason=reason, task_id=task, page_size=min(limit, 100))
    found = list(islice(letters, limit))
    session.answer(DeadLetterPage(dead=found), *([dead_table(found)] if found else []))
    session.say("Give one another try: agent-mesh replay-dead DEAD_ID" if found else "No dead letters.")


def replay_dead(
    session: Session,
    dead_id: Annotated[str, typer.Argument(metavar="DEAD_ID", help="The dead letter, as `dead` prints it.")],
) -> None:
    """Give a dead letter another try."""
    from agent_mesh.cli._task_view import task_view

    replayed = session.client.replay_dead(dead_id)
    if replayed.task is not None:
        session.answer(replayed, task_view(replayed.task))
    else:
        session.answer(replayed, f"Published again as message {replayed.message_id}.")
