"""`ledger verify`: is a receipt true? Without a network, and without believing anybody but the keys."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel

from agent_mesh.cli._command import add_command
from agent_mesh.cli._input import read_text
from agent_mesh.cli._ledger_keys import given_key, given_quorum, json_object, refusal, remembered_key
from agent_mesh.cli._session import Session
from agent_mesh.cli._text import printable
from agent_mesh.contracts.values import JsonObject
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.ledger.keys import VerifierKey
from agent_mesh.ledger.receipts import Receipt, Verified, parse_receipt, verify_receipt
from agent_mesh.ledger.witnesses import WitnessQuorum

Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="The ledger's key, name+id+key, or a file with it; default: the one remembered for it."
    ),
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="KEY", help="A witness that has to have cosigned; may be given several times."),
]
Quorum = Annotated[int | None, typer.Option(min=1, help="How many of them; default: all.")]


class Verification(BaseModel):
    """What a receipt proves."""

    verified: bool
    ledger: str
    index: int
    size: int
    witnesses: list[str]
    entry: JsonObject
    payload_verified: bool


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "verify", verify, addressed=False)


def verify(
    session: Session,
    receipt: Annotated[str, typer.Argument(metavar="RECEIPT", help="File of the receipt; - is stdin.")],
    *,
    key: Key = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
) -> None:
    """Verify a receipt, offline.

    It proves that the entry stands at its place in the ledger that the key
    has signed, and that so many witnesses have seen that ledger.
    """
    text = read_text(receipt, "RECEIPT")
    needed = given_quorum(witness or [], quorum)
    try:
        parsed = parse_receipt(unwrapped(text))
    except LedgerError as error:
        raise refusal(error) from error
    log_key = given_key(key, "--key") if key is not None else remembered_key(parsed.checkpoint)
    show(session, verified(parsed, log_key, needed), has_payload=parsed.payload is not None)


def verified(receipt: Receipt, key: VerifierKey, quorum: WitnessQuorum | None) -> Verified:
    """Return what a receipt proves; raise `LedgerRefused`."""
    try:
        return verify_receipt(receipt, key, quorum)
    except LedgerError as error:
        raise refusal(error) from error


def show(session: Session, found: Verified, *, has_payload: bool) -> None:
    """Print what a receipt proves."""
    entry = found.entry
    by_digest = entry.payload_digest is not None
    answer = Verification(
        verified=True,
        ledger=found.checkpoint.origin,
        index=found.index,
        size=found.checkpoint.size,
        witnesses=list(found.witnesses),
        entry=entry.model_dump(exclude_none=True),
        payload_verified=has_payload or not by_digest,
    )
    lines = [
        f"[green]verified[/green]  entry {found.index} of {found.checkpoint.size}",
        f"ledger    {plain(answer.ledger)}",
        f"what      {plain(entry.event)}  by {plain(entry.actor)}  at {plain(entry.ts)}",
        f"of        {plain(entry.tx_id)}  (id {plain(entry.id)})",
        f"witnesses {plain(', '.join(answer.witnesses)) or 'none asked for'}",
    ]
    if by_digest and not has_payload:
        lines.append("payload   not in the receipt: only its SHA-256 is proved")
    session.answer(answer, *lines)


def plain(text: str) -> str:
    """Return text of others as it is printed: nothing in it steers the terminal or is read as markup."""
    from rich.markup import escape

    return escape(printable(text).replace("\n", " "))


def unwrapped(text: str) -> str:
    """Return the receipt in a text: itself, or the `proof` of the answer to an append."""
    found = json_object(text)
    if found is None or not isinstance(found.get("proof"), dict):
        return text
    import json

    return json.dumps(found["proof"], ensure_ascii=False)
