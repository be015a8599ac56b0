"""What came back, what it cost and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from agent_mesh.contracts.tasks import Task
from examples.demo.shown import console
from examples.demo.work import Outcome, succeeded

SHOWN_TERMS: Final = 3
NARROWEST_NAME: Final = 20


def result_table(outcomes: Sequence[Outcome]) -> Table:
    caption = "latency: digest over Pub/Sub / light over HTTP"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, caption=caption)
    for column in ("file", "words", "reading", "key terms", "cost", "latency", "status"):
        number = column in {"words", "reading", "cost", "latency"}
        table.add_column(column, justify="right" if number else "left", no_wrap=column != "key terms", overflow="fold")
    for outcome in outcomes:
        table.add_row(*result_row(outcome))
    return table


def result_row(outcome: Outcome) -> list[str | Text]:
    """Return what `digest` found in one document, what both agents cost and how long each took."""
    result: Any = outcome.digest.result if outcome.digest else None
    terms = ", ".join(term["text"] for term in result["terms"][:SHOWN_TERMS]) if result else ""
    status = "succeeded" if succeeded(outcome.digest) and succeeded(outcome.echo) else _trouble(outcome)
    return [
        _shortened(outcome.document.name),
        f"{result['counts']['words']:,}" if result else "-",
        f"{result['readingSeconds'] / 60:.1f} min" if result else "-",
        Text(terms),
        f"{_cost(outcome)} ¢",
        f"{_milliseconds(outcome.digest)} / {_milliseconds(outcome.echo)} ms",
        Text(status, "green" if outcome.fine else "bold red"),
    ]


def totals(outcomes: Sequence[Outcome], seconds: float) -> Text:
    fine = sum(outcome.fine for outcome in outcomes)
    cost = sum(map(_cost, outcomes))
    words = f"\n{fine} of {len(outcomes)} documents, {2 * len(outcomes)} tasks, {cost} ¢, {seconds:.1f} s."
    return Text(words, "bold green" if fine == len(outcomes) else "bold red")


def _trouble(outcome: Outcome) -> str:
    if outcome.without_prose:
        return "dead: no prose in it"
    ends = [task.status for task in (outcome.digest, outcome.echo) if task is not None and not succeeded(task)]
    return ", ".join([*outcome.refusals, *ends])


def _cost(outcome: Outcome) -> int:
    return sum(task.cost_cents for task in (outcome.digest, outcome.echo) if task is not None)


def _milliseconds(task: Task | None) -> str:
    if task is None or task.finished_at is None:
        return "-"
    took = datetime.fromisoformat(task.finished_at) - datetime.fromisoformat(task.created_at)
    return f"{took.total_seconds() * 1000:.0f}"


def _shortened(name: str) -> str:
    width = max(NARROWEST_NAME, console.width // 4)
    return name if len(name) <= width else "…" + name[1 - width :]
