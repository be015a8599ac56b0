"""`ledger fsck`: everything read again through the function that serves it, and compared with what the log signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel, Field

from agent_mesh.cli._command import add_command
from agent_mesh.cli._failures import FAILED
from agent_mesh.cli._ledger_keys import given_quorum, key_of_ledger, refusal
from agent_mesh.cli._ledger_saved import Keeper, read_saved
from agent_mesh.cli._ledger_verify import Key, Quorum, Witnesses, plain
from agent_mesh.cli._session import Session
from agent_mesh.client import AuditClient, MeshClientError, ProblemError
from agent_mesh.contracts.audit import FsckRequest
from agent_mesh.ledger.checkpoints import Checkpoint, open_checkpoint
from agent_mesh.ledger.errors import LedgerError, MalformedReceipt, TileMissing
from agent_mesh.ledger.fsck import Finding, PayloadReader
from agent_mesh.ledger.keys import encode_base64
from agent_mesh.ledger.notes import parse_note
from agent_mesh.ledger.receipts import parse_receipt
from agent_mesh.ledger.tiles import TILE_WIDTH
from agent_mesh.ledger.tree import CompactRange
from agent_mesh.ledger.walk import Walk

_SAVE_EVERY: Final = 64
"""Bundles, of 256 entries each."""

_MOST_FINDINGS: Final = 1000
_NOT_OFFERED: Final = frozenset({403, 404, 405})


class Fault(BaseModel):
    """One thing that is not as the entries and the log's signature say."""

    place: str
    fault: str


class FsckAnswer(BaseModel):
    """What was read, and what is wrong with it."""

    ledger: str
    size: int
    root: str
    since: int = Field(description="Entries that an earlier run had read, and that were not read again.")
    witnesses: list[str]
    documents: str = Field(description="Whether the function read its own documents: `read`, `not offered`, `no`.")
    findings: list[Fault]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "fsck", fsck)


def fsck(
    session: Session,
    *,
    key: Key = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Go on from where FILE says that an earlier run ended, and keep it up."),
    ] = None,
    documents: Annotated[
        bool, typer.Option(help="Let the function read its own documents again too (operators only).")
    ] = True,
) -> int:
    """Read the whole ledger again and find every changed byte.

    Entries are hashed, every tile is compared with what the entries make
    it, and the root with the one that the log has signed, now and before.
    """
    needed, text, saved = given_quorum(witness or [], quorum), session.audit.checkpoint(), read_saved(since)
    log_key = key_of_ledger(session, key, text)
    try:
        note = parse_note(text)
        newest, before = open_checkpoint(note, log_key), saved.signed(log_key)
        cosigned = needed.check(note) if needed else ()
    except LedgerError as error:
        raise refusal(error) from error
    findings = [_shrunk(each, newest) for each in before if each.size > newest.size]
    begin = saved.tree if not findings and saved.end <= newest.size else CompactRange()
    walk = Walk(_reader(session.audit), _payloads(session.audit), newest.size, begin, [*before, newest])
    findings += _walked(session, walk, Keeper(since if not findings else None, saved, text))
    read, inside = _documents(session.audit) if documents else ("no", [])
    faults = [Fault(place=each.place, fault=each.fault) for each in (*findings, *inside)]
    answer = _answer(newest, since=begin.end, witnesses=list(cosigned), documents=read, findings=faults)
    session.answer(answer, *_lines(answer))
    return FAILED if faults else 0


def _answer(newest: Checkpoint, **found: Any) -> FsckAnswer:  # noqa: ANN401  # pydantic checks them
    return FsckAnswer(ledger=newest.origin, size=newest.size, root=encode_base64(newest.root), **found)


def _walked(session: Session, walk: Walk, keep: Keeper) -> list[Finding]:
    """Walk to the end; keep on the way what an interrupted run can go on from, as long as nothing is found."""
    findings: list[Finding] = []
    whole = walk.tree
    with _progress(session, walk) as advance:
        for number, found in enumerate(walk.findings(), start=1):
            findings += found
            advance()
            if len(findings) > _MOST_FINDINGS:
                return findings
            if walk.tree.end % TILE_WIDTH == 0:
                whole = walk.tree
            if not findings and number % _SAVE_EVERY == 0:
                keep.on_the_way(whole)
    if not findings:
        keep.at_the_end(whole)
    return findings


def _shrunk(before: Checkpoint, newest: Checkpoint) -> Finding:
    return Finding(f"checkpoint {before.size}", f"was seen before; now there are only {newest.size} entries")


def _reader(audit: AuditClient) -> Callable[..., bytes | None]:
    return lambda tile: audit.tile(tile.path)


def _payloads(audit: AuditClient) -> PayloadReader:
    """Return a reader of the payloads that the ledger has by their digest: they come with the receipts."""

    def payload(index: int, sha256: str) -> bytes:
        try:
            held = parse_receipt(audit.receipt(index)).payload
        except ProblemError as error:
            raise TileMissing(f"the payload with SHA-256 {sha256} cannot be had: {error.problem.detail}") from error
        except MalformedReceipt as error:
            raise TileMissing(f"the payload with SHA-256 {sha256} cannot be had: {error}") from error
        if held is None:
            raise TileMissing(f"the payload with SHA-256 {sha256} is not there")
        return held.encode(errors="surrogatepass")

    return payload


def _documents(audit: AuditClient) -> tuple[str, list[Finding]]:
    """Let the function read what HTTP does not show, in as many calls as it takes."""
    findings: list[Finding] = []
    following: int | None = 0
    while following is not None:
        try:
            report = audit.fsck(FsckRequest(first_bundle=following))
        except ProblemError as error:
            if error.status in _NOT_OFFERED:
                return "not offered", findings
            raise
        findings += [Finding(f"document {each.place}", each.fault) for each in report.findings]
        if report.next_bundle is not None and report.next_bundle <= following:
            raise MeshClientError("POST /fsck does not come forward.")
        following = report.next_bundle
    return "read", findings


def _lines(answer: FsckAnswer) -> Iterator[str]:
    for each in answer.findings:
        yield f"[red]changed[/red]   {plain(each.place)}: {plain(each.fault)}"
    word = "[red]not as signed[/red]" if answer.findings else "[green]as signed[/green]"
    since = f", {answer.since} of them read before" if answer.since else ""
    yield f"{word} {answer.size} entries{since}, root {answer.root}"
    yield f"ledger    {plain(answer.ledger)}"
    yield f"witnesses {plain(', '.join(answer.witnesses)) or 'none asked for'}"
    yield f"documents {answer.documents}"


@contextmanager
def _progress(session: Session, walk: Walk) -> Iterator[Callable[[], object]]:
    """Yield what to call with every step; a bar on stderr shows them where there is a terminal."""
    if session.json or not session.err.is_terminal:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=session.err, transient=True) as bar:
        job = bar.add_task("entries", total=walk.size, completed=walk.tree.end)
        yield lambda: bar.update(job, completed=walk.tree.end)
