"""`cancel`, `replay`, `pause`, `resume`, `sweep`: making something happen."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from agent_mesh.cli._command import add_command
from agent_mesh.cli._failures import outcome_code
from agent_mesh.cli._session import Session
from agent_mesh.cli._show import TaskIdArgument
from agent_mesh.cli._text import printable
from agent_mesh.contracts.tasks import AgentState, Mode

AgentArgument = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "cancel", cancel)
    add_command(app, "replay", replay)
    add_command(app, "pause", pause)
    add_command(app, "resume", resume)
    add_command(app, "sweep", sweep)


def cancel(session: Session, task_id: TaskIdArgument) -> None:
    """Cancel a task.

    One that waits never runs; one that runs is asked to stop.
    """
    from agent_mesh.cli._task_view import task_view

    task = session.client.cancel(task_id)
    session.answer(task, task_view(task))
    if not task.status.terminal:
        session.say("It runs and was asked to stop; it is cancelled when its agent next looks.")


def replay(
    session: Session,
    task_id: TaskIdArgument,
    *,
    ttl: Annotated[
        float | None, typer.Option(min=0, help="Seconds from now; default: as long as the first had.")
    ] = None,
    budget: Annotated[int | None, typer.Option(min=0, help="Cents; default: the first task's.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key of the new task.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Default: pubsub.")] = None,
) -> int:
    """Run a task once more, as a new task."""
    from agent_mesh.cli._task_view import task_view

    end = None if ttl is None else time.time() + ttl
    task = session.client.replay(task_id, ttl=end, budget_cents=budget, mode=mode, idempotency_key=key)
    session.answer(task, task_view(task))
    return outcome_code(task)


def pause(session: Session, agent: AgentArgument) -> None:
    """Let an agent take no more work."""
    _show_agent(session, session.client.pause(agent))


def resume(session: Session, agent: AgentArgument) -> None:
    """Let a paused agent work again."""
    _show_agent(session, session.client.resume(agent))


def sweep(
    session: Session,
    *,
    wait: Annotated[int, typer.Option(min=0, max=55, help="Seconds to stay for tasks that fall due.")] = 0,
) -> None:
    """Republish, expire and settle what is due, now.

    The scheduler does the same every minute.
    """
    from agent_mesh.cli._tables import sweep_table

    report = session.client.sweep(wait)
    table = sweep_table(report)
    session.answer(report, *([table] if table.row_count else []))
    if not table.row_count:
        session.say("Nothing was left to do.")
    if report.more:
        session.say("There is more; sweep again.")


def _show_agent(session: Session, state: AgentState) -> None:
    words = "is paused" if state.paused else "works"
    released = f"; waiting tasks sent on: {state.released}" if state.released else ""
    session.answer(state, f"{printable(state.agent)} {words}{released}")
