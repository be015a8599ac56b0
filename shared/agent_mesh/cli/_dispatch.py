"""`dispatch`: giving work to an agent."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from pydantic import JsonValue

from agent_mesh.cli._batch import dispatch_lines
from agent_mesh.cli._command import add_command
from agent_mesh.cli._failures import outcome_code
from agent_mesh.cli._input import read_text, wrong
from agent_mesh.cli._session import Session
from agent_mesh.client import dispatch_request
from agent_mesh.contracts.tasks import DispatchRequest, Mode

WAIT_GRACE_S = 10.0
"""A task may end a little after its TTL: the run that began in time is let finish."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "dispatch", dispatch)


def dispatch(  # noqa: PLR0913  # a command's options are its parameters
    session: Session,
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent that is to do it.")],
    *,
    payload: Annotated[
        str | None, typer.Option("--payload", "-p", metavar="JSON", help="What it works on, an object.")
    ] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", help="The payload from a file; - is stdin.")] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="JSON Lines, one payload or one whole request a line, in Pub/Sub mode; - is stdin."),
    ] = None,
    ttl: Annotated[float, typer.Option(help="Seconds from now after which it must not run.")] = 60,
    budget: Annotated[int, typer.Option(help="The most it may cost, in cents.")] = 10,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same key runs and costs once.")] = None,
    mode: Annotated[Mode, typer.Option(help="http waits for the answer, pubsub queues.")] = Mode.HTTP,
    wait: Annotated[bool, typer.Option("--wait", help="In Pub/Sub mode: wait until it ends.")] = False,
    not_before: Annotated[float | None, typer.Option(help="Seconds from now before which it must not run.")] = None,
    callback: Annotated[str | None, typer.Option(metavar="URL", help="HTTPS address that gets the result.")] = None,
) -> int:
    """Dispatch a task, or a batch of tasks, to an agent."""
    template = dispatch_request(
        agent,
        {},
        budget_cents=budget,
        ttl_s=ttl,
        mode=Mode.PUBSUB if batch else mode,
        idempotency_key=key,
        callback_url=callback,
        not_before=None if not_before is None else time.time() + not_before,
    )
    patience_s = ttl + WAIT_GRACE_S if wait else None
    if batch is None:
        request = template.model_copy(update={"payload": _payload(payload, file)})
        return _dispatch_one(session, request, patience_s)
    if payload is not None or file is not None or key is not None:
        raise wrong("--batch", "goes without --payload, --file and --key: each line has its own")
    return dispatch_lines(session, read_text(batch, "--batch"), template, patience_s)


def _dispatch_one(session: Session, request: DispatchRequest, patience_s: float | None) -> int:
    from agent_mesh.cli._task_view import task_view

    task = session.client.send(request)
    if patience_s is not None and not task.status.terminal:
        with session.busy(f"{task.task_id} is {task.status}"):
            task = session.client.wait(task.task_id, patience_s)
    session.answer(task, task_view(task))
    if not task.status.terminal:
        session.say(f"Follow it: agent-mesh tail {task.task_id}")
    return outcome_code(task)


def _payload(text: str | None, file: str | None) -> dict[str, JsonValue]:
    if text is not None and file is not None:
        raise wrong("--payload", "give --payload or --file, not both")
    source = "--payload" if file is None else "--file"
    written = read_text(file, source) if file is not None else (text or "{}")
    try:
        value = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise wrong(source, f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise wrong(source, f'is {type(value).__name__}, and a payload is an object, such as {{"text": ...}}')
    return value
