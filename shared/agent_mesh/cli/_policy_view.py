"""Policy for people: what is in force, and why an intent is decided as it is."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from agent_mesh.cli._tables import plain_table
from agent_mesh.cli._text import printable
from agent_mesh.contracts.policy import ExplainAnswer, LookedAt, PolicyState, TriedRule
from agent_mesh.contracts.values import to_json

_SHOWN_CHARACTERS = 40


def state_view(state: PolicyState) -> Iterator[Text | Table]:
    """Yield what is in force, and the versions where the answer has them."""
    words = f"in force {state.active}, revision {state.revision}"
    if state.changed_by:
        words += f", changed by {printable(state.changed_by)} at {state.changed_at}"
    yield Text(words)
    yield Text(f"packaged is {state.packaged}")
    if state.shadow:
        yield Text(f"in its shadow {state.shadow}")
    if state.versions:
        table = plain_table("version", "release", "tests", "uploaded", "by", right=("tests",), flowing=("by",))
        for one in state.versions:
            who = printable(one.uploaded_by or "")
            table.add_row(short_version(one.version), one.release, str(one.tests), one.uploaded_at or "", who)
        yield table


def short_version(version: str) -> str:
    """Return the first digits of a version: enough for a command, and for a line of 80 characters."""
    return version.removeprefix("sha256:")[:12]


def explained(answer: ExplainAnswer) -> Iterator[Text | Table]:
    """Yield the decision, and the rules in the order of their files."""
    style = "green" if answer.answer.decision == "allow" else "red"
    yield Text.assemble((answer.answer.decision, style), f": {printable(answer.answer.explanation)}")
    table = plain_table("rule", "line", "held", "because", right=("line",), flowing=("because",))
    for rule in answer.rules:
        table.add_row(rule.rule, str(rule.line), _held(rule), _because(rule))
    if answer.rules:
        yield table
    if not answer.complete:
        yield Text("The rules could not be followed in every step; the decision stands.", "yellow")


def _held(rule: TriedRule) -> Text:
    if rule.held is None:
        return Text("function", "dim")
    return Text("yes", "green") if rule.held else Text("no", "red" if rule.kind == "rule" else "dim")


def _because(rule: TriedRule) -> str:
    looked = ", ".join(_value(one) for one in rule.looked_at)
    failed = rule.fault or (rule.failed and " ".join(rule.failed.split())) or ""
    return printable(" · ".join(part for part in (failed, looked) if part))


def _value(one: LookedAt) -> str:
    if not one.present:
        return f"{one.path} is missing"
    text = to_json(one.value)
    return f"{one.path} = {text[:_SHOWN_CHARACTERS]}{'…' if len(text) > _SHOWN_CHARACTERS else ''}"
