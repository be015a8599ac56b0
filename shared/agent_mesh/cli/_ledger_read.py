"""`ledger checkpoint`, `ledger receipt`: what the ledger says, verified before it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel

from agent_mesh.cli._command import add_command
from agent_mesh.cli._failures import LedgerRefused
from agent_mesh.cli._input import wrong
from agent_mesh.cli._ledger_keys import given_quorum, key_of_ledger, refusal
from agent_mesh.cli._ledger_verify import Key, Quorum, Witnesses, plain, show, verified
from agent_mesh.cli._session import Session
from agent_mesh.ledger.checkpoints import open_checkpoint
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.ledger.keys import encode_base64
from agent_mesh.ledger.notes import parse_note
from agent_mesh.ledger.receipts import Receipt, Verified, parse_receipt

_INDEX_DIGITS: Final = 19


class SignedCheckpoint(BaseModel):
    """A checkpoint that verifies."""

    ledger: str
    size: int
    root: str
    signatures: list[str]
    witnesses: list[str]
    key: str
    note: str


class Receipts(BaseModel):
    """Receipts that were verified."""

    receipts: list[Receipt]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "checkpoint", checkpoint)
    add_command(app, "receipt", receipt)


def checkpoint(
    session: Session,
    *,
    key: Key = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print the signed note as it is, for other tools.")] = False,
) -> None:
    """Show the newest checkpoint, verified: how many entries there are, and their root."""
    needed, text = given_quorum(witness or [], quorum), session.audit.checkpoint()
    log_key = key_of_ledger(session, key, text)
    try:
        note = parse_note(text)
        found = open_checkpoint(note, log_key)
        cosigned = needed.check(note) if needed else ()
    except LedgerError as error:
        raise refusal(error) from error
    if raw:
        typer.echo(text, nl=False)
        return
    names = [signature.name for signature in note.signatures]
    answer = SignedCheckpoint(
        ledger=found.origin,
        size=found.size,
        root=encode_base64(found.root),
        signatures=names,
        witnesses=list(cosigned),
        key=str(log_key),
        note=text,
    )
    session.answer(
        answer,
        f"[green]signed[/green]    {found.size} entries, root {answer.root}",
        f"ledger    {plain(found.origin)}",
        f"signed by {plain(', '.join(names))}",
        f"key       {plain(answer.key)}",
        f"witnesses {plain(', '.join(cosigned)) or 'none asked for'}",
    )


def receipt(
    session: Session,
    entry: Annotated[str, typer.Argument(metavar="INDEX|TX", help="Number of an entry, or the id of a transaction.")],
    *,
    key: Key = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Keep each receipt here as INDEX.json, for `verify`.")
    ] = None,
) -> None:
    """Fetch receipts of one entry, or of all of a transaction, and verify them."""
    needed = given_quorum(witness or [], quorum)
    indexed = entry.isascii() and entry.isdigit() and len(entry) < _INDEX_DIGITS
    found = [_receipt(session, int(entry))] if indexed else _receipts(session, entry)
    if not found:
        raise wrong("INDEX|TX", f"{entry!r} is no transaction that the ledger knows")
    log_key = key_of_ledger(session, key, found[0].checkpoint)
    proved = [verified(each, log_key, needed) for each in found]
    for each in [] if indexed else proved:
        _check_belongs(each, entry)
    if out is not None:
        _keep(found, Path(out))
    if session.json:
        session.answer(found[0] if indexed else Receipts(receipts=found))
        return
    for fetched, proof in zip(found, proved, strict=True):
        show(session, proof, has_payload=fetched.payload is not None)


def _receipt(session: Session, index: int) -> Receipt:
    try:
        found = parse_receipt(session.audit.receipt(index))
    except LedgerError as error:
        raise refusal(error) from error
    if found.index != index:
        raise LedgerRefused("wrong_entry", f"asked for entry {index}, the ledger gave the receipt of {found.index}.")
    return found


def _receipts(session: Session, tx_id: str) -> list[Receipt]:
    found: list[Receipt] = []
    cursor: str | None = None
    while True:
        page = session.audit.records(tx_id, cursor)
        found += [record.receipt for record in page.records if record.receipt is not None]
        if page.next_cursor is None or page.next_cursor == cursor:
            return found
        cursor = page.next_cursor


def _check_belongs(found: Verified, tx_id: str) -> None:
    if found.entry.tx_id != tx_id:
        raise LedgerRefused("wrong_entry", f"asked for {tx_id!r}, the ledger gave an entry of {found.entry.tx_id!r}.")


def _keep(receipts: list[Receipt], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in receipts:
            (folder / f"{each.index}.json").write_text(each.model_dump_json(exclude_none=True), encoding="utf-8")
    except OSError as error:
        raise wrong("--out", f"cannot be written: {error}") from error
