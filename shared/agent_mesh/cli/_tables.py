"""Many things at once, as tables; whole ids, because ids are there to be copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich import box
from rich.table import Table
from rich.text import Text

from agent_mesh.cli._text import STATUS_STYLES, age, between, cents, printable, relative
from agent_mesh.contracts.tasks import BatchAnswer, DeadLetter, SweepReport, Task


def status_text(status: str) -> Text:
    """Return a state in its colour."""
    return Text(status, STATUS_STYLES.get(status, ""))


def plain_table(*columns: str, right: Sequence[str] = (), flowing: Sequence[str] = ()) -> Table:
    """Return an empty table; the columns `right` are numbers, and only the columns `flowing` give way and wrap."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in flowing,
            overflow="fold",
        )
    return table


def task_table(tasks: Iterable[Task]) -> Table:
    """Return tasks with state, cost, latency and age."""
    now = datetime.now(UTC)
    table = plain_table("task", "agent", "status", "cost", "latency", "age", right=("cost", "latency", "age"))
    for task in tasks:
        table.add_row(
            task.task_id,
            printable(task.agent),
            status_text(task.status),
            cents(task.cost_cents),
            between(task.created_at, task.finished_at),
            age(task.created_at, now),
        )
    return table


def batch_table(answers: Iterable[BatchAnswer]) -> Table:
    """Return the answers of a batch, with the number of the line that each belongs to."""
    table = plain_table("line", "task", "status", "cost", "why", right=("line", "cost"), flowing=("why",))
    for line, answer in enumerate(answers, start=1):
        task, problem = answer.task, answer.problem
        reason = f"{problem.code}: {problem.detail}" if problem else (task.error.detail if task and task.error else "")
        table.add_row(
            str(line),
            task.task_id if task else (problem.task_id or "-" if problem else "-"),
            status_text(task.status if task else "rejected"),
            cents(task.cost_cents if task else 0),
            printable(reason),
        )
    return table


def dead_table(letters: Iterable[DeadLetter]) -> Table:
    """Return dead letters with their reasons."""
    now = datetime.now(UTC)
    columns = ("dead letter", "agent", "tries", "age", "why")
    table = plain_table(*columns, right=("tries", "age"), flowing=("why",))
    for letter in letters:
        replayed = f"replayed {relative(letter.replayed_at, now)}; " if letter.replayed_at else ""
        table.add_row(
            letter.dead_id,
            printable(letter.agent or "-"),
            str(letter.attempts),
            age(letter.at, now),
            printable(f"{replayed}{letter.reason} on {letter.topic}: {letter.detail}"),
        )
    return table


def sweep_table(report: SweepReport) -> Table:
    """Return what a sweep did, the counts that are not zero."""
    table = plain_table("did", "tasks", right=("tasks",))
    for name, count in report.model_dump(exclude={"more"}).items():
        if count:
            table.add_row(name.replace("_", " "), str(count))
    return table
