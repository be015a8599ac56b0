"""`tail`: what happens, as it happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from agent_mesh.cli._command import add_command
from agent_mesh.cli._failures import FAILED
from agent_mesh.cli._session import Session
from agent_mesh.client import MeshClient
from agent_mesh.contracts.tasks import Task, TaskStatus, TimelineEntry

_QUICKEST_S, _SLOWEST_S = 0.2, 2.0
_WATCHED = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "tail", tail)


def tail(
    session: Session,
    task_id: Annotated[str | None, typer.Argument(metavar="[TASK_ID]", help="Without it: every task.")] = None,
) -> int | None:
    """Follow one task until it ends, or all tasks until Ctrl-C.

    With --json there is one document per line.
    """
    if task_id is None:
        return _tail_all(session)
    return _tail_one(session, task_id)


def new_entries(client: MeshClient, task_id: str) -> Iterator[TimelineEntry | TaskStatus]:
    """Yield what happens to a task, each once, and its last state at the end; looks less often while nothing does."""
    seen: set[str] = set()
    pause = _QUICKEST_S
    while True:
        timeline = client.timeline(task_id)
        fresh = [entry for entry in timeline.events if entry.model_dump_json() not in seen]
        seen.update(entry.model_dump_json() for entry in fresh)
        yield from fresh
        if timeline.status.terminal:
            yield timeline.status
            return
        pause = _QUICKEST_S if fresh else min(pause * 1.5, _SLOWEST_S)
        time.sleep(pause)


def changed_tasks(client: MeshClient) -> Iterator[Task]:
    """Yield the newest tasks, oldest first, and then every task that is new or changed its state."""
    seen: dict[str, TaskStatus] = {}
    while True:
        page = client.tasks(limit=_WATCHED)
        changed = [task for task in reversed(page.tasks) if seen.get(task.task_id) is not task.status]
        seen = {task.task_id: task.status for task in page.tasks}
        yield from changed
        time.sleep(_QUICKEST_S if changed else 2 * _QUICKEST_S)


def _tail_one(session: Session, task_id: str) -> int:
    from agent_mesh.cli._task_view import timeline_line

    last = TaskStatus.ACCEPTED
    for item in new_entries(session.client, task_id):
        if isinstance(item, TaskStatus):
            last = item
        elif session.json:
            typer.echo(item.model_dump_json(by_alias=True, exclude_none=True))
        else:
            session.out.print(timeline_line(item))
    session.say(f"{last}. See its result: agent-mesh task {task_id}")
    return 0 if last is TaskStatus.SUCCEEDED else FAILED


def _tail_all(session: Session) -> int:
    from agent_mesh.cli._task_view import task_line

    try:
        for task in changed_tasks(session.client):
            if session.json:
                typer.echo(task.model_dump_json(by_alias=True, exclude_none=True))
            else:
                session.out.print(task_line(task))
    except KeyboardInterrupt:  # the only way to end it is no failure
        return 0
    raise AssertionError  # there is always another look
