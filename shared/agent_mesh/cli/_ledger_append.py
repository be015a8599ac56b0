"""`ledger append`: entries from a file, and the proof that each is in the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import typer
from pydantic import JsonValue, TypeAdapter, ValidationError

from agent_mesh.cli._command import add_command
from agent_mesh.cli._failures import LedgerRefused
from agent_mesh.cli._input import read_text, wrong
from agent_mesh.cli._ledger_keys import key_of_ledger
from agent_mesh.cli._ledger_verify import Key, show, verified
from agent_mesh.cli._session import Session
from agent_mesh.client import RequestInvalid
from agent_mesh.contracts.audit import BATCH_LIMIT, AuditRequest
from agent_mesh.ledger.answers import AuditAnswer, AuditBatchAnswer
from agent_mesh.ledger.entries import AuditEntry, to_leaf

_BATCH_BYTES: Final = 1024 * 1024
"""Of entries in one call; a function takes bodies of 2 MiB."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "append", append)


def append(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="One entry as JSON, or one a line; - is stdin.")],
    *,
    key: Key = None,
) -> None:
    """Append entries, and verify the proof that each is in the ledger.

    An entry is {"tx_id", "event", "actor", "payload"} and, so that it can
    be sent again without being added twice, an "id" of its own.
    """
    requests = _requests(read_text(file, "FILE"))
    answers: list[AuditAnswer] = []
    for batch in _batches(requests):
        answers += session.audit.append(batch).entries
    if len(answers) != len(requests):
        raise LedgerRefused("wrong_entry", f"{len(requests)} entries were sent and {len(answers)} answered.")
    log_key = key_of_ledger(session, key, answers[0].proof.checkpoint)
    proved = [verified(answer.proof, log_key, None) for answer in answers]
    for request, found in zip(requests, proved, strict=True):
        if not _says(found.entry, request):
            raise LedgerRefused("wrong_entry", f"the proof for an entry of {request.tx_id!r} is of another one.")
    if session.json:
        session.answer(AuditBatchAnswer(entries=answers))
        return
    for answer, found in zip(answers, proved, strict=True):
        show(session, found, has_payload=answer.proof.payload is not None)
        if answer.repeated:
            session.say(f"Entry {answer.index} was there before; nothing was added.")


def _says(entry: AuditEntry, request: AuditRequest) -> bool:
    """Return whether an entry is what was sent: beside the id and the time, which are the ledger's, every byte."""
    sent = {**request.model_dump(include={"tx_id", "event", "actor", "payload"}), "payload_digest": None}
    return to_leaf(entry.model_copy(update=sent)).entry == entry.canonical()


def _requests(text: str) -> list[AuditRequest]:
    try:
        whole: JsonValue = json.loads(text)
        found = whole if isinstance(whole, list) else [whole]
        places = [f"entry {number}" for number in range(1, len(found) + 1)] if isinstance(whole, list) else [""]
    except (ValueError, RecursionError):
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        found = [_parsed(line, number) for number, line in lines]
        places = [f"line {number}" for number, _ in lines]
    if not found:
        raise wrong("FILE", "has no entry in it")
    return [_request(value, place) for value, place in zip(found, places, strict=True)]


def _parsed(line: str, number: int) -> JsonValue:
    try:
        value: JsonValue = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise wrong(f"line {number}", f"is not JSON: {error}") from error
    return value


def _request(value: JsonValue, place: str) -> AuditRequest:
    try:
        return _ENTRY.validate_python(value)
    except ValidationError as error:
        raise RequestInvalid.of(error, place) from error


_ENTRY = TypeAdapter(AuditRequest)


def _batches(requests: Sequence[AuditRequest]) -> Iterator[Sequence[AuditRequest]]:
    """Yield as many as one call takes, by their number and by their bytes."""
    batch, size = list[AuditRequest](), 0
    for request in requests:
        added = len(request.model_dump_json().encode())
        if batch and (len(batch) == BATCH_LIMIT or size + added > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += added
    yield batch
