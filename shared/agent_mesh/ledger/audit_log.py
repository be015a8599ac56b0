"""The audit log: what callers hand in and what the mesh tells of itself, in the ledger before it is answered.

1. A caller's entry gets its id from who calls and the caller's own name for it: nobody can take another's, or an
   event's, and nobody's entry looks like an event.
2. An event keeps its own id: the same event is the same entry, however often it is delivered.
3. All who append at the same time share a commit; each commit is told as an event, which is not appended itself.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue, ValidationError

from agent_mesh.contracts.audit import AuditRequest
from agent_mesh.contracts.events import CloudEvent
from agent_mesh.contracts.problems import FieldFault, IdempotencyConflict, InvalidRequest, MalformedRequest
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.ledger.answers import AuditAnswer
from agent_mesh.ledger.cosigned import CosignedStore
from agent_mesh.ledger.entries import AuditEntry, LedgerLeaf, parse_entry
from agent_mesh.ledger.errors import MalformedEntry
from agent_mesh.ledger.group_commit import GroupCommit
from agent_mesh.ledger.inspection import Inspected, inspect
from agent_mesh.ledger.keys import encode_base64
from agent_mesh.ledger.proofs import inclusion_proof
from agent_mesh.ledger.reader import LedgerReader
from agent_mesh.ledger.receipts import Receipt
from agent_mesh.ledger.sequencer import Candidate, Committed, Sequencer, candidate
from agent_mesh.ledger.signers import Signer, verifier_key
from agent_mesh.ledger.signing import signer_from, witnesses_from
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.ledger.witness_inspection import inspect_cosigned
from agent_mesh.platform.clock import moment, rfc3339
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.ids import derived_id, random_id
from agent_mesh.platform.logs import join_trace

CHECKPOINT_EVENT: Final = "mesh.ledger.checkpoint"
RESERVED: Final = "mesh."
"""How the types of the mesh's own events begin: nobody hands in an entry that looks like one."""

OWN_EVENTS: Final = "mesh.ledger."
"""How the types of the ledger's own events begin: it appends none of them, or it would feed itself."""

HEARTBEAT_SECONDS: Final = 1800
HEARTBEAT: Final = "mesh.ledger.heartbeat"

_LONGEST_ACTOR: Final = 255


class AuditLog:
    """What the audit function does with one ledger. One for each process; nothing connects before its first use."""

    def __init__(self, parts: FunctionParts) -> None:
        """Wire from `parts`.

        Raises:
            SettingsError: the ledger of a deployed function has no name or no key, or a witness's key is none.
        """
        self._parts = parts
        self._store = LedgerStore(parts.database)
        self._lock = threading.Lock()
        self._known_signer: Signer | None = None
        self._sequencer: Sequencer | None = None
        interval = parts.settings.ledger_commit_seconds
        self._group = GroupCommit(self._one_sequencer, interval, lambda each: tell_checkpoint(parts.events, each))
        self._kept = CosignedStore(parts.database)
        self._witnesses = [client.key for client in witnesses_from(parts.settings)]
        if parts.settings.service:
            self._signer()  # a deployed ledger that cannot sign does not start; nothing connects yet
        self.reader = LedgerReader(self._store, self._kept if self._witnesses else None)

    def record(self, requests: Sequence[AuditRequest], caller: str) -> list[AuditAnswer]:
        """Append what a caller hands in, all in one commit; return where each stands, with its receipt.

        Raises:
            InvalidRequest: an entry has no canonical JSON or says to be the mesh's; nothing was added.
            IdempotencyConflict: an id was used before for something else. What was new of the rest was added.
            Unavailable: the ledger cannot be written at the moment; nothing was added, or the answer was lost.
        """
        candidates = [_candidate(self._entry(request, caller), new=request.id is None) for request in requests]
        committed = self._group.append(candidates)
        leaves = self._leaves(candidates, committed)
        return [_answer(each, leaf, committed) for each, leaf in zip(candidates, leaves, strict=True)]

    def arrive(self, envelope: PushEnvelope, pusher: str) -> None:
        """Append a pushed event, once however often it comes. Returning acknowledges it: it is in the ledger.

        Raises:
            MalformedRequest: it is no event that the ledger can keep; it will end in the dead letters.
            Unavailable: the ledger cannot be written at the moment; Pub/Sub delivers it again.
        """
        join_trace(envelope.message.attributes.get)
        event = read_event(envelope)
        crash_point("audit.delivered")
        if not event.type.startswith(OWN_EVENTS):
            self._group.append([_event_candidate(event, self._now(), pusher)])

    def heartbeat(self, caller: str) -> tuple[int, int]:
        """Append a sign of life, one for each half hour; return its index and the ledger's size.

        A ledger to which nothing happens signs all the same, so that its silence always means a fault.
        """
        period = int(self._parts.clock.now()) // HEARTBEAT_SECONDS
        name = derived_id("beat", str(period))
        payload: dict[str, JsonValue] = {"period_start": period * HEARTBEAT_SECONDS, "seconds": HEARTBEAT_SECONDS}
        entry = AuditEntry(
            id=name,
            tx_id=HEARTBEAT,
            event=HEARTBEAT,
            actor="/audit",
            ts=self._now(),
            payload=payload,
            recorded_by=caller,
        )
        committed = self._group.append([candidate(entry)])
        return committed.places[name], committed.checkpoint.size

    def check(self, first_bundle: int, bundles: int) -> Inspected:
        """Read a part of the ledger again, and say what is not as it was signed; with the last one the cosignatures."""
        log_key = verifier_key(self._signer())
        found = inspect(self._store, log_key, first_bundle, bundles)
        if found.next_bundle is not None:
            return found
        cosigned = tuple(inspect_cosigned(self._store, self._kept, log_key, self._witnesses))
        return replace(found, findings=(*found.findings, *cosigned))

    def _signer(self) -> Signer:
        with self._lock:
            if self._known_signer is None:
                self._known_signer = signer_from(self._parts.settings)
            return self._known_signer

    def _one_sequencer(self) -> Sequencer:
        signer = self._signer()
        with self._lock:
            if self._sequencer is None:
                self._sequencer = Sequencer(self._store, signer)
            return self._sequencer

    def _entry(self, request: AuditRequest, caller: str) -> AuditEntry:
        if request.event.startswith(RESERVED):
            detail = f"event: names that begin with {RESERVED} are events of the mesh itself, which come by Pub/Sub."
            raise InvalidRequest(detail, errors=[FieldFault(field="event", message="is an event of the mesh itself")])
        return AuditEntry(
            id=random_id("aud") if request.id is None else derived_id("aud", caller, request.id),
            tx_id=request.tx_id,
            event=request.event,
            actor=request.actor,
            ts=self._now(),
            payload=request.payload,
            recorded_by=caller,
        )

    def _leaves(self, candidates: Sequence[Candidate], committed: Committed) -> list[LedgerLeaf]:
        """Return what stands in the ledger for each candidate: itself, or what had its id before."""
        repeats = [each for each in candidates if committed.added.get(each.entry_id) is not each.leaf]
        records = self.reader.records([committed.places[each.entry_id] for each in repeats])
        first = {each.entry_id: record for each, record in zip(repeats, records, strict=True)}
        for each in repeats:
            if not _says_the_same(parse_entry(each.leaf.entry), first[each.entry_id].entry):
                raise IdempotencyConflict("The id was used before for another entry; give this one another id.")
        return [
            LedgerLeaf(first[each.entry_id].text.encode(), each.leaf.payload) if each.entry_id in first else each.leaf
            for each in candidates
        ]

    def _now(self) -> str:
        return rfc3339(moment(self._parts.clock.now()))


def read_event(envelope: PushEnvelope) -> CloudEvent:
    """Return the event that a push carries; raise `MalformedRequest` for anything else."""
    try:
        return CloudEvent.model_validate_json(envelope.message.body())
    except ValidationError as error:
        raise _no_event(str(error.errors(include_url=False, include_input=False)[0]["msg"])) from error


def tell_checkpoint(events: EventLog, committed: Committed) -> None:
    """Tell of a commit that added something: how far the ledger has grown, and to which root."""
    checkpoint = committed.checkpoint
    data: dict[str, JsonValue] = {
        "size": checkpoint.size,
        "root": encode_base64(checkpoint.root),
        "added": len(committed.added),
        "origin": checkpoint.origin,
    }
    events.emit(CHECKPOINT_EVENT, checkpoint.origin, data, once=str(checkpoint.size))


def _candidate(entry: AuditEntry, *, new: bool) -> Candidate:
    try:
        return candidate(entry, new=new)
    except MalformedEntry as error:
        detail = f"The entry cannot be kept: {error}."
        raise MalformedRequest(detail, errors=[FieldFault(field="payload", message=str(error))]) from error


def _event_candidate(event: CloudEvent, ts: str, pusher: str) -> Candidate:
    """Return an event as an entry: its id and subject are those of the entry and its transaction."""
    payload: dict[str, JsonValue] = {
        "source": event.source,
        "time": event.time,
        "traceparent": event.traceparent,
        "data": event.data,
    }
    try:
        entry = AuditEntry(
            id=event.id,
            tx_id=event.subject,
            event=event.type,
            actor=_actor(event),
            ts=ts,
            payload=payload,
            recorded_by=pusher,
        )
    except ValidationError as error:
        raise _no_event(str(error.errors(include_url=False, include_input=False)[0]["msg"])) from error
    return _candidate(entry, new=False)


def _actor(event: CloudEvent) -> str:
    """Return who did it: the caller or the actor that the event names, else the function that saw it happen."""
    named = (event.data.get("caller"), event.data.get("actor"))
    said = [each for each in named if isinstance(each, str) and each and each.isprintable()]
    return (said or [event.source])[0][:_LONGEST_ACTOR]


def _no_event(why: str) -> MalformedRequest:
    detail = f"message.data is no event that the ledger can keep: {why}. It will end in the dead letters."
    return MalformedRequest(detail, errors=[FieldFault(field="message.data", message=why)])


def _says_the_same(entry: AuditEntry, stored: AuditEntry) -> bool:
    """Compare all but the time: it is the ledger's, and a repeat comes later."""
    return entry.model_copy(update={"ts": stored.ts}) == stored


def _answer(each: Candidate, leaf: LedgerLeaf, committed: Committed) -> AuditAnswer:
    entry, index, size = parse_entry(leaf.entry), committed.places[each.entry_id], committed.checkpoint.size
    proof = inclusion_proof(committed.nodes, index, size)
    return AuditAnswer(
        acl_txn=entry.id,
        tx_id=entry.tx_id,
        index=index,
        ts=datetime.fromisoformat(entry.ts).astimezone(UTC).timestamp(),
        repeated=committed.added.get(each.entry_id) is not each.leaf,
        proof=Receipt.of(leaf, index, proof, committed.note),
    )
