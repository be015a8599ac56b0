"""The codes that an ended task or run may carry in `error.code`, each explained once, and where the code has them.

`declared_codes` reads the package's syntax trees for every place that a code can come from, so that a new code without
an explanation fails the documentation, and with it the tests.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FAULT_CODES: Final = {
    "agent_error": "The handler raised `RetryableError`, `TerminalError` or `AgentError` without a code of its own.",
    "agent_paused": "The agent was paused when the orchestrator called it over HTTP.",
    "agent_unreachable": "The agent gave no usable answer over HTTP in 3 tries, or refused the orchestrator's call.",
    "budget_exceeded": "The run may cost more than `budgetCents`, or than what is left of the agent's daily budget.",
    "cancelled": "Somebody cancelled the task, or its handler saw that and stopped.",
    "crashed": "The run's process ended without a result, and the attempts are used up.",
    "deliveries_used_up": "Pub/Sub gave up delivering the message and the handler left no fault of its own.",
    "handler_failed": "The handler raised something else than an `AgentError`; the agent's log has the traceback.",
    "payload_invalid": "The payload does not fit the model that the handler declares; `detail` names the fields.",
    "policy_denied": "The rules in force deny it; `detail` names the rule and its reasons.",
    "price_above_maximum": "The handler charged more than the agent's `max_cost_cents`; the maximum was charged.",
    "result_not_json": "The handler's result cannot be turned into JSON: NaN, an infinity, too deep. It was charged.",
    "result_too_large": "The result is larger than 512 KiB as JSON. It was charged.",
    "ttl_expired": "The `ttl` passed before the run started, or before its result arrived.",
}
"""Code to meaning. An agent's own codes (`TerminalError(code=...)`) come on top."""

_SKIPPED: Final = {"client", "cli", "docs"}
_CONSTRUCTORS: Final = {"TaskFault", "TerminalError", "RetryableError", "AgentError", "RunCancelled", "__init__"}


def declared_codes(package: Path) -> set[str]:
    """Return every code that the package's source may put into a task's or a run's fault."""
    found: set[str] = set()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in _SKIPPED:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {text for node in ast.walk(tree) for text in _codes_in(node)}
    return found


def _codes_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        for argument in _code_arguments(node):
            yield from _texts(argument)
    elif isinstance(node, ast.FunctionDef):
        yield from _default_code(node)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        yield from _refusal_table(node)


def _code_arguments(call: ast.Call) -> Iterator[ast.expr]:
    """Yield the arguments that are codes: `code=` of a fault, the second of `refused`, a default dead-letter reason."""
    name = _name(call.func)
    if name in _CONSTRUCTORS:
        yield from (keyword.value for keyword in call.keywords if keyword.arg == "code")
    if name == "refused" and len(call.args) > 1:
        yield call.args[1]
    if name == "get" and call.args and isinstance(call.args[0], ast.Constant):
        yield from call.args[1:] if call.args[0].value == "deadLetterReason" else ()


def _default_code(function: ast.FunctionDef) -> Iterator[str]:
    arguments = function.args
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.arg == "code" and default is not None:
            yield from _texts(default)


def _refusal_table(assign: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """Yield the keys of a `_REFUSALS` table: problems of an agent that become faults of the task."""
    targets = assign.targets if isinstance(assign, ast.Assign) else [assign.target]
    named = any(isinstance(target, ast.Name) and target.id == "_REFUSALS" for target in targets)
    if named and isinstance(assign.value, ast.Dict):
        for key in assign.value.keys:
            yield from _texts(key) if key is not None else ()


def _texts(expression: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression may come to; both sides of a condition."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        yield expression.value
    elif isinstance(expression, ast.IfExp):
        yield from _texts(expression.body)
        yield from _texts(expression.orelse)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
