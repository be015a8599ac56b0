"""A batch from JSON Lines: checked as a whole before the first task is sent, then sent and waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import JsonValue, ValidationError

from agent_mesh.cli._failures import FAILED, outcome_code
from agent_mesh.cli._session import Session
from agent_mesh.client import MeshClient, MeshClientError, RequestInvalid, batches
from agent_mesh.contracts.problems import FieldFault
from agent_mesh.contracts.tasks import BatchAnswer, BatchResponse, DispatchRequest, Task

_SHOWN_FAULTS: Final = 10
_LOOK_EVERY_S: Final = 0.2

Progress = Callable[[int], None]


def dispatch_lines(session: Session, text: str, template: DispatchRequest, patience_s: float | None) -> int:
    """Dispatch every line, wait for `patience_s` seconds if that is wanted, print one answer per line."""
    from agent_mesh.cli._tables import batch_table

    requests = read_requests(text, template)
    with _progress(session, "dispatching", len(requests)) as advance:
        answers = _send(session, requests, advance)
    if patience_s is not None:
        with _progress(session, "waiting", len(answers)) as advance:
            answers = finish(session.client, answers, patience_s, advance)
    response = _response(answers)
    session.answer(response, batch_table(answers))
    late = len(_unfinished(answers)) if patience_s is not None else 0
    session.say(
        f"{response.accepted} accepted, {response.refused} refused" + (f", {late} not finished." if late else ".")
    )
    return (
        FAILED
        if response.refused or late or any(answer.task and outcome_code(answer.task) for answer in answers)
        else 0
    )


def read_requests(text: str, template: DispatchRequest) -> list[DispatchRequest]:
    """Return one request per line that is not blank; raise `RequestInvalid` with the lines at fault.

    A line with an object under `payload` is a request and overrides the template; any other object is a payload.
    """
    requests: list[DispatchRequest] = []
    faults: list[FieldFault] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            requests.append(_request(line, template, f"line {number}"))
        except RequestInvalid as error:
            faults += error.problem.errors or []
    if faults:
        raise RequestInvalid(faults[:_SHOWN_FAULTS])
    if not requests:
        raise RequestInvalid([FieldFault(field="--batch", message="has no line in it")])
    return requests


def finish(client: MeshClient, answers: list[BatchAnswer], patience_s: float, advance: Progress) -> list[BatchAnswer]:
    """Return the answers with every task as it ended, or as it was last seen when `patience_s` seconds are over."""
    deadline = time.monotonic() + patience_s
    latest = list(answers)
    advance(len(latest) - len(_unfinished(latest)))
    while unfinished := _unfinished(latest):
        for index, task in unfinished:
            seen = client.task(task.task_id)
            latest[index] = latest[index].model_copy(update={"task": seen})
            advance(seen.status.terminal)
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_EVERY_S)
    return latest


def _unfinished(answers: Iterable[BatchAnswer]) -> list[tuple[int, Task]]:
    return [
        (index, answer.task)
        for index, answer in enumerate(answers)
        if answer.task is not None and not answer.task.status.terminal
    ]


def _send(session: Session, requests: list[DispatchRequest], advance: Progress) -> list[BatchAnswer]:
    """Return an answer per request; when a call fails, what was accepted before it is printed first."""
    from agent_mesh.cli._tables import batch_table

    answers: list[BatchAnswer] = []
    try:
        for batch in batches(requests):
            answers += session.client.dispatch_batch(batch).results
            advance(len(batch))
    except MeshClientError:
        if answers:
            session.answer(_response(answers), batch_table(answers))
            session.say(f"Only the first {len(answers)} of {len(requests)} lines were sent.")
        raise
    return answers


def _response(answers: list[BatchAnswer]) -> BatchResponse:
    accepted = sum(answer.task is not None for answer in answers)
    return BatchResponse(results=answers, accepted=accepted, refused=len(answers) - accepted)


def _request(line: str, template: DispatchRequest, where: str) -> DispatchRequest:
    try:
        value: JsonValue = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid([FieldFault(field=where, message=f"is not JSON: {error}")]) from error
    if not isinstance(value, dict):
        raise RequestInvalid([FieldFault(field=where, message="is not an object")])
    fields = value if isinstance(value.get("payload"), dict) else {"payload": value}
    defaults = template.model_dump(mode="json", by_alias=True, exclude={"payload"}, exclude_none=True)
    try:
        return DispatchRequest.model_validate({**defaults, **fields})
    except ValidationError as error:
        raise RequestInvalid.of(error, where) from error


@contextmanager
def _progress(session: Session, doing: str, total: int) -> Iterator[Progress]:
    """Yield what to call with every step; a bar on stderr shows them where there is a terminal."""
    if session.json or not session.err.is_terminal:
        yield lambda _count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=session.err, transient=True) as bar:
        job = bar.add_task(doing, total=total)
        yield lambda count: bar.advance(job, count)
