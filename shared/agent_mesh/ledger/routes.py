"""The audit function's routes."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from agent_mesh.contracts.audit import AuditBatchRequest, AuditId, AuditRequest, FsckRequest
from agent_mesh.contracts.problems import FieldFault, InvalidRequest, NotFound
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.ledger.answers import (
    AuditAnswer,
    AuditBatchAnswer,
    FsckFinding,
    FsckReport,
    HeartbeatAnswer,
    ProofAnswer,
    TransactionRecord,
    TransactionRecords,
)
from agent_mesh.ledger.audit_log import AuditLog
from agent_mesh.ledger.keys import encode_base64
from agent_mesh.ledger.reader import RECORDS_AT_ONCE, LedgerReader, LedgerRecord, RecordPage
from agent_mesh.ledger.receipts import Receipt
from agent_mesh.ledger.tree import MAX_SIZE
from agent_mesh.ledger.witness_routes import add_witness_routes
from agent_mesh.platform.app import Content, FunctionApp, Reply, current_identity
from agent_mesh.platform.function_parts import FunctionParts

_TEXT: Final = "text/plain; charset=utf-8"
_BYTES: Final = "application/octet-stream"
_FOR_GOOD: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
_NOT_LONG: Final = {"Cache-Control": "private, max-age=60"}
_PAYLOADS_AT_ONCE: Final = 4 * 1024 * 1024
_ANEW: Final = {"Cache-Control": "no-cache"}

Size = Annotated[int, Field(ge=0, le=MAX_SIZE)]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _TxPath(BaseModel):
    tx_id: AuditId


class _IndexPath(BaseModel):
    index: Size


class _PlacePath(BaseModel):
    place: Annotated[str, Field(max_length=80)]


class _TxQuery(_Query):
    cursor: Annotated[str | None, Field(max_length=20, description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=RECORDS_AT_ONCE)] = 50
    proof: Annotated[bool, Field(description="Whether each record comes with its receipt.")] = True


class _InclusionQuery(_Query):
    index: Annotated[Size, Field(description="Which entry.")]
    size: Annotated[Size | None, Field(description="In the tree of so many entries; default: of all.")] = None


class _ConsistencyQuery(_Query):
    older: Annotated[Size, Field(alias="from", description="Entries of the older tree, at least 1.")]
    newer: Annotated[Size | None, Field(alias="to", description="Entries of the newer tree; default: all.")] = None


def audit_app(parts: FunctionParts) -> FunctionApp:
    """Return the audit function's app, wired from `parts`."""
    audit = AuditLog(parts)
    app = parts.app("audit", "Keeps what happened in a ledger that nobody can change unnoticed, with proofs.")
    _append_routes(app, audit, parts)
    _transaction_routes(app, audit, parts)
    _proof_routes(app, audit.reader, parts)
    _tile_routes(app, audit.reader, parts)
    _operator_routes(app, audit, parts)
    add_witness_routes(app, parts)
    return app


def _append_routes(app: FunctionApp, audit: AuditLog, parts: FunctionParts) -> None:
    settings = parts.settings
    access = parts.caller_access(settings.callers, settings.operators)
    pushes = parts.push_access(settings.event_pushers, settings.push_audience, verify=settings.push_verify)

    @app.route("POST", "/audit", access=access, answers={200: AuditAnswer}, summary="Append an entry")
    def append(body: AuditRequest) -> Reply:
        (answer,) = audit.record([body], current_identity().email)
        return Reply(answer, 200, {"Location": f"/entries/{answer.index}"})

    @app.route(
        "POST",
        "/audit/batch",
        access=access,
        answers={200: AuditBatchAnswer},
        summary="Append up to 500 entries in one commit",
    )
    def append_batch(body: AuditBatchRequest) -> AuditBatchAnswer:
        return AuditBatchAnswer(entries=audit.record(body.entries, current_identity().email))

    @app.route(
        "POST",
        "/pubsub/events",
        access=pushes,
        answers={204: None},
        summary="Take an event of the mesh from Pub/Sub",
    )
    def pubsub_events(body: PushEnvelope) -> None:
        audit.arrive(body, current_identity().email)


def _transaction_routes(app: FunctionApp, audit: AuditLog, parts: FunctionParts) -> None:
    settings = parts.settings
    access = parts.caller_access(settings.callers, settings.operators, settings.viewers)
    everything = frozenset({*settings.operators, *settings.viewers})

    def visible(record: LedgerRecord) -> bool:
        caller = current_identity().email
        return caller in everything or caller in {record.entry.actor, record.entry.recorded_by}

    @app.route(
        "GET",
        "/tx/<path:tx_id>",
        access=access,
        answers={200: TransactionRecords},
        summary="All that the ledger has of a transaction",
    )
    def transaction(path: _TxPath, query: _TxQuery) -> TransactionRecords:
        page = audit.reader.records_of(path.tx_id, visible, from_index=_position(query.cursor), limit=query.limit)
        if query.proof:
            page = _answerable(page)
        if not page.records and query.cursor is None and page.next_index is None:
            raise NotFound(f"The ledger has nothing of the transaction {path.tx_id}.")
        receipts = audit.reader.receipts(page.records) if query.proof else [None] * len(page.records)
        return TransactionRecords(
            tx_id=path.tx_id,
            records=[_shown(record, receipt) for record, receipt in zip(page.records, receipts, strict=True)],
            next_cursor=None if page.next_index is None else str(page.next_index),
        )

    @app.route("GET", "/entries/<index>", access=access, answers={200: Receipt}, summary="An entry with its receipt")
    def entry(path: _IndexPath) -> Receipt:
        record = audit.reader.record(path.index)
        if not visible(record):
            raise NotFound(f"There is no entry {path.index} that is yours to see.")
        return audit.reader.receipts([record])[0]


def _proof_routes(app: FunctionApp, reader: LedgerReader, parts: FunctionParts) -> None:
    settings = parts.settings
    access = parts.caller_access(settings.callers, settings.operators, settings.viewers)

    @app.route("GET", "/checkpoint", access=access, answers={200: None}, summary="The newest checkpoint, a signed note")
    def checkpoint() -> Content:
        return Content(reader.checkpoint().encode(), _TEXT, headers=_ANEW)

    @app.route("GET", "/key", access=access, answers={200: None}, summary="The key that verifies the checkpoints")
    def key() -> Content:
        return Content(f"{reader.key()}\n".encode(), _TEXT, headers=_ANEW)

    @app.route(
        "GET", "/proof/inclusion", access=access, answers={200: ProofAnswer}, summary="Proof that an entry is in a tree"
    )
    def inclusion(query: _InclusionQuery) -> ProofAnswer:
        return _proof(reader.inclusion(query.index, query.size))

    @app.route(
        "GET",
        "/proof/consistency",
        access=access,
        answers={200: ProofAnswer},
        summary="Proof that a tree is how a later one began",
    )
    def consistency(query: _ConsistencyQuery) -> ProofAnswer:
        return _proof(reader.consistency(query.older, query.newer))


def _tile_routes(app: FunctionApp, reader: LedgerReader, parts: FunctionParts) -> None:
    settings = parts.settings
    hashes = parts.caller_access(settings.callers, settings.operators, settings.viewers)
    entries = parts.caller_access(settings.operators, settings.viewers)

    def served(path: str) -> Content:
        found = reader.tile(path)
        return Content(found.held, _BYTES, headers=_FOR_GOOD if found.full else _NOT_LONG)

    @app.route("GET", "/tile/entries/<path:place>", access=entries, answers={200: None}, summary="A bundle of entries")
    def bundle(path: _PlacePath) -> Content:
        return served(f"tile/entries/{path.place}")

    @app.route("GET", "/tile/<path:place>", access=hashes, answers={200: None}, summary="A tile of hashes")
    def tile(path: _PlacePath) -> Content:
        if path.place.startswith("entries"):  # whatever leads here: bundles hold what not everybody may see
            raise NotFound(f"There is no tile of hashes at tile/{path.place}.")
        return served(f"tile/{path.place}")


def _operator_routes(app: FunctionApp, audit: AuditLog, parts: FunctionParts) -> None:
    access = parts.caller_access(parts.settings.operators)

    @app.route(
        "POST", "/heartbeat", access=access, answers={200: HeartbeatAnswer}, summary="Append a sign of life (schedule)"
    )
    def heartbeat() -> HeartbeatAnswer:
        index, size = audit.heartbeat(current_identity().email)
        return HeartbeatAnswer(index=index, size=size)

    @app.route("POST", "/fsck", access=access, answers={200: FsckReport}, summary="Read stored bundles and tiles again")
    def fsck(body: FsckRequest) -> FsckReport:
        checked = audit.check(body.first_bundle, body.bundles)
        findings = [FsckFinding(place=each.place, fault=each.fault) for each in checked.findings]
        return FsckReport(size=checked.size, findings=findings, next_bundle=checked.next_bundle)


def _answerable(page: RecordPage) -> RecordPage:
    """Return as many of the records as have payloads that one answer holds, at least one; receipts bring them."""
    size = 0
    for number, record in enumerate(page.records):
        digest = record.entry.payload_digest
        size += digest.size if digest else 0
        if number and size > _PAYLOADS_AT_ONCE:
            return RecordPage(page.records[:number], record.index)
    return page


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and int(cursor) <= MAX_SIZE):
        fault = FieldFault(field="cursor", message="is not a cursor that a page of this list gave")
        raise InvalidRequest("cursor: take `next_cursor` of the page before, unchanged.", errors=[fault])
    return int(cursor)


def _shown(record: LedgerRecord, receipt: Receipt | None) -> TransactionRecord:
    entry = record.entry
    return TransactionRecord(
        index=record.index,
        id=entry.id,
        event=entry.event,
        actor=entry.actor,
        recorded_by=entry.recorded_by,
        ts=entry.ts,
        payload=entry.payload,
        payload_digest=entry.payload_digest,
        entry=record.text,
        receipt=receipt,
    )


def _proof(hashes: list[bytes]) -> ProofAnswer:
    return ProofAnswer(proof=[encode_base64(each) for each in hashes])
