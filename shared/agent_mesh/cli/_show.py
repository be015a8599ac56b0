"""`task`, `tasks`, `explain`: looking at what there is."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from agent_mesh.cli._command import add_command
from agent_mesh.cli._session import Session
from agent_mesh.contracts.tasks import TaskPage, TaskStatus

TaskIdArgument = Annotated[str, typer.Argument(metavar="TASK_ID", help="The task, as `dispatch` and `tasks` print it.")]

_LARGEST_PAGE = 100


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "task", task)
    add_command(app, "tasks", tasks)
    add_command(app, "explain", explain)


def task(session: Session, task_id: TaskIdArgument) -> None:
    """Show one task with its result or error."""
    from agent_mesh.cli._task_view import task_view

    found = session.client.task(task_id)
    session.answer(found, task_view(found))


def tasks(
    session: Session,
    *,
    agent: Annotated[str | None, typer.Option(help="Only tasks of this agent.")] = None,
    status: Annotated[TaskStatus | None, typer.Option(help="Only tasks in this state.")] = None,
    key: Annotated[str | None, typer.Option(help="Only the task of this idempotency key.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All of them, whatever their number.")] = False,
) -> None:
    """List tasks, newest first."""
    from agent_mesh.cli._tables import task_table

    wanted = None if everything else limit
    page_size = min(wanted or _LARGEST_PAGE, _LARGEST_PAGE)
    tasks = session.client.iter_tasks(agent=agent, status=status, idempotency_key=key, page_size=page_size)
    found = list(islice(tasks, wanted))
    session.answer(TaskPage(tasks=found), *([task_table(found)] if found else []))
    if not found:
        session.say('No such tasks. Dispatch one: agent-mesh dispatch light --payload \'{"message": "hello"}\'')


def explain(session: Session, task_id: TaskIdArgument) -> None:
    """Say why a task is where it is and what will happen next."""
    from agent_mesh.cli._task_view import explanation_view

    explanation = session.client.explain(task_id)
    session.answer(explanation, explanation_view(explanation))
