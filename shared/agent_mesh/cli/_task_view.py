"""One task, its timeline and its explanation, as a person reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from agent_mesh.cli._tables import status_text
from agent_mesh.cli._text import STATUS_STYLES, between, cents, duration, local_time, printable, relative
from agent_mesh.contracts.tasks import Explanation, Task, TaskFault, TaskStatus, TimelineEntry


def task_view(task: Task) -> RenderableType:
    """Return a task with its result or its error below."""
    parts: list[RenderableType] = [_facts(task)]
    if task.error is not None:
        parts.append(_fault(task.error, task.status))
    if task.result is not None:
        parts += [Text("\nresult", "bold"), json_view(task.result)]
    return Group(*parts)


def json_view(value: JsonValue) -> RenderableType:
    """Return a JSON value in colours; JSON escapes every control character, so nothing in it steers the terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return Syntax(printable(text), "json", background_color="default", theme="ansi_dark", word_wrap=True)


def explanation_view(explanation: Explanation) -> RenderableType:
    """Return why a task is where it is, in words."""
    lines = Text.assemble((explanation.task_id, "bold"), "  ")
    lines.append_text(status_text(explanation.status))
    lines.append(f"\n\n{printable(explanation.summary)}\n")
    for reason in explanation.reasons:
        lines.append(f"  • {printable(reason)}\n")
    lines.append("\nnext  ", "bold").append(printable(explanation.next))
    if not explanation.facts:
        return lines
    return Group(lines, Text("\nfacts", "bold"), json_view(explanation.facts))


def timeline_line(entry: TimelineEntry) -> Text:
    """Return one thing that happened to a task as one line."""
    line = Text.assemble((local_time(entry.at), "dim"), "  ")
    line.append(f"{printable(entry.event):<10}", STATUS_STYLES.get(entry.event, ""))
    if entry.percent is not None:
        line.append(f" {entry.percent:5.1f} %")
    if entry.attempt is not None and entry.attempt > 1:
        line.append(f" attempt {entry.attempt}", "yellow")
    return line.append(f" {printable(entry.detail)}" if entry.detail else "")


def task_line(task: Task) -> Text:
    """Return a task in its present state as one line."""
    line = Text.assemble((local_time(task.updated_at), "dim"), f"  {task.task_id}  {printable(task.agent):<10} ")
    line.append(f"{task.status:<9}", STATUS_STYLES[task.status])
    if task.status.terminal:
        line.append(f"  {cents(task.cost_cents):>5}  {between(task.created_at, task.finished_at):>8}")
    if task.error is not None:
        line.append(f"  {printable(task.error.code)}", "red")
    return line


def _facts(task: Task) -> Table:
    now = datetime.now(UTC)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("task", task.task_id)
    grid.add_row("agent", Text.assemble(printable(task.agent), (f"  over {task.mode}", "dim")))
    grid.add_row("status", status_text(task.status))
    grid.add_row("cost", f"{cents(task.cost_cents)} of at most {cents(task.budget_cents)}")
    grid.add_row("latency", between(task.created_at, task.finished_at))
    grid.add_row("created", f"{relative(task.created_at, now)} by {printable(task.caller)}")
    for name, value in _occasional(task, now).items():
        grid.add_row(name, value)
    return grid


def _occasional(task: Task, now: datetime) -> dict[str, str]:
    """Return the facts that most tasks do not have."""
    rows: dict[str, str] = {}
    if not task.status.terminal:
        left = task.ttl - now.timestamp()
        rows["expires"] = f"in {duration(left)}" if left > 0 else f"{duration(-left)} ago"
        if task.not_before is not None and task.not_before > now.timestamp():
            rows["starts"] = f"in {duration(task.not_before - now.timestamp())}"
    if task.attempt > 1:
        rows["attempt"] = str(task.attempt)
    if task.idempotency_key is not None:
        rows["key"] = printable(task.idempotency_key)
    if task.cancel_requested:
        rows["cancel"] = "asked for"
    if task.replay_of:
        rows["replay of"] = task.replay_of
    if task.callback is not None:
        rows["callback"] = (
            f"{task.callback.status} after {task.callback.attempts} attempts: {printable(task.callback_url or '')}"
        )
    rows["trace"] = printable(task.trace_id)
    return rows


def _fault(fault: TaskFault, status: TaskStatus) -> RenderableType:
    lines = Text.assemble(("\nerror ", "bold red"), (printable(fault.code), "red"))
    if status in {TaskStatus.FAILED, TaskStatus.DEAD}:
        lines.append("  it may work when tried again" if fault.retryable else "  trying again will not help", "dim")
    return lines.append(f"\n{printable(fault.detail)}")
