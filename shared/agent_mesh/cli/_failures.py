"""What went wrong and what to do next, on stderr; and the exit code that says so to a script."""

from __future__ import annotations

import sys
from typing import Final

from agent_mesh.cli._session import Session
from agent_mesh.cli._text import printable
from agent_mesh.client import (
    AnswerUnreadable,
    ConnectionFailed,
    EnvironmentsUnreadable,
    EnvironmentUnknown,
    MeshClientError,
    ProblemError,
    RequestInvalid,
    StackUnreadable,
    TokenUnavailable,
)
from agent_mesh.contracts.problems import PROBLEM_TYPE_PREFIX, Problem
from agent_mesh.contracts.tasks import Task, TaskStatus

FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3

_NEXT_STEP: Final = {
    "agent_paused": "Let it work again: agent-mesh resume AGENT",
    "answer_unreadable": "Check --url, then: agent-mesh doctor",
    "budget_exceeded": "Allow more with --budget CENTS, or wait until the agent's own budget is free again.",
    "busy": "The same run is going on; ask again in a moment.",
    "connection_failed": "See which part is missing: agent-mesh doctor",
    "connection_timed_out": "The task may go on; look with: agent-mesh tasks",
    "environment_unknown": "See what is stored: agent-mesh environments. Store another: agent-mesh login --help",
    "forbidden": "Be somebody who may, with --as EMAIL; `allow` in infra/roles.json says who may do what.",
    "http_401": "Google refused the token before the mesh saw it; find out why: agent-mesh doctor",
    "http_403": "Google let this identity not through to the mesh; find out why: agent-mesh doctor",
    "http_404": "Nothing is deployed there, or its ingress is closed from here: agent-mesh doctor",
    "idempotency_conflict": "Use another --key, or send what the first one sent.",
    "stack_not_found": "Start one: python3 noxfile.py -s up. Or name a deployed mesh with --env or --url.",
    "stack_unreadable": "Start the stack again: python3 noxfile.py -s up",
    "token_unavailable": "See what is missing: agent-mesh doctor",
    "ttl_expired": "Give it longer with --ttl SECONDS, and check this machine's clock: agent-mesh doctor",
    "unauthenticated": "Check the audience and this machine's clock: agent-mesh doctor",
    "unavailable": "Ask again in a moment; if it stays: agent-mesh doctor",
    "wait_timed_out": "It goes on; follow it with: agent-mesh tail TASK_ID",
}

_NO_ENTRIES: Final = "Each task and each decision makes some: agent-mesh dispatch, agent-mesh intent publish"
_NOT_FOUND: Final = {
    "/checkpoint": _NO_ENTRIES,
    "/dead/": "See what there is: agent-mesh dead",
    "/entries/": "See how many entries there are: agent-mesh ledger checkpoint",
    "/key": _NO_ENTRIES,
    "/policies/": "See which there are: agent-mesh policy list",
    "/tx/": "An event is in the ledger once it was pushed; ask again in a moment if it is new.",
}
_NO_WAY_THERE: Final = (AnswerUnreadable, ConnectionFailed, EnvironmentsUnreadable, StackUnreadable, TokenUnavailable)


class LedgerRefused(MeshClientError):
    """What was to be verified is not true. The code is the one of the ledger's own error."""

    status, title = 422, "The ledger's proof is refused"

    def __init__(self, code: str, detail: str) -> None:
        """Say why."""
        self.code = code
        super().__init__(detail)


def outcome_code(task: Task) -> int:
    """Return 1 for a task that ended without success; one that goes on is no failure."""
    return FAILED if task.status.terminal and task.status is not TaskStatus.SUCCEEDED else 0


def exit_code(error: MeshClientError) -> int:
    """Return 2 for what was asked wrongly, 3 for a mesh that cannot be reached, 1 for the rest."""
    if isinstance(error, (RequestInvalid, EnvironmentUnknown)):
        return USAGE
    if isinstance(error, _NO_WAY_THERE):
        return UNREACHABLE
    return FAILED


def next_step(error: MeshClientError) -> str:
    """Return what to do about an error, nothing where there is no telling."""
    if error.advice:
        return error.advice
    if error.code == "not_found":
        asked = error.problem.instance or ""
        found = (advice for path, advice in _NOT_FOUND.items() if asked.startswith(path))
        return next(found, "See what there is: agent-mesh tasks")
    return _NEXT_STEP.get(error.code, "")


def explain_failure(session: Session, error: MeshClientError) -> None:
    """Print the error on stderr: as problem JSON, or in words with the next step."""
    if session.json:
        print(error.problem.model_dump_json(by_alias=True, exclude_none=True), file=sys.stderr)  # noqa: T201
        return
    from rich.text import Text

    problem = error.problem
    lines = Text.assemble(("Error ", "bold red"), (printable(problem.title), "bold"), (f" ({problem.code})", "dim"))
    lines.append(f"\n{printable(problem.detail.removesuffix(error.advice).rstrip())}")
    if isinstance(error, ProblemError):
        for fault in problem.errors or []:
            lines.append(f"\n  {printable(fault.field)}: {printable(fault.message)}")
        if problem.task_id:
            lines.append(f"\nThe refusal is kept: {session.addressed('agent-mesh explain')} {problem.task_id}")
        if problem.trace_id:
            lines.append(f"\ntrace {printable(problem.trace_id)}", "dim")
    if next_step(error):
        lines.append(f"\n{session.addressed(next_step(error))}", "cyan")
    session.err.print(lines)


def usage_problem(detail: str) -> Problem:
    """Return a wrong command line in the shape of all other problems."""
    code = "wrong_usage"
    return Problem(
        type=PROBLEM_TYPE_PREFIX + code,
        title="The command is not used as it must be",
        status=422,
        detail=detail,
        code=code,
    )
