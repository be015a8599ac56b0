"""Routes of the audit function for witnesses: a round of asking them, on a schedule, and what they have cosigned."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent_mesh.contracts.problems import Busy, Unavailable
from agent_mesh.ledger.azure_ledger import azure_ledger_from
from agent_mesh.ledger.cosignatures import cosigned_at
from agent_mesh.ledger.cosigned import Cosigned, CosignedStore
from agent_mesh.ledger.errors import LedgerError, LedgerForked
from agent_mesh.ledger.signing import origin_from, quorum_from, witnesses_from
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.ledger.witness_client import WitnessClient
from agent_mesh.ledger.witnessing import Round, Witnessing
from agent_mesh.platform.app import FunctionApp
from agent_mesh.platform.clock import moment, rfc3339
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.logs import log

WITNESSED_EVENT: Final = "mesh.ledger.witnessed"
FORKED_LOG: Final = "mesh.ledger.forked"
"""Type of the line that the alert on two ledgers of one name counts."""

_PATIENCE_S: Final = 20.0

UNWITNESSED_LOG: Final = "mesh.ledger.unwitnessed"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class WitnessFault(_Answer):
    """Why a witness has not cosigned."""

    witness: str = Field(description="Its name; `azure` for an Azure Confidential Ledger.")
    code: str = Field(description="`witness_unavailable`, `witness_refused`, `witness_ahead`, `ledger_forked`.")
    fault: str = Field(description="What happened.")


class RoundAnswer(_Answer):
    """The answer to `POST /witness`."""

    size: int = Field(description="Entries of the checkpoint that was shown; 0 where there is none, or nobody to ask.")
    cosigned: list[str] = Field(description="Names of the witnesses that have cosigned it.")
    faults: list[WitnessFault] = Field(description="The others.")
    new: int = Field(description="How many cosignatures and receipts this call brought.")


class CosignerAnswer(_Answer):
    """One witness."""

    name: str = Field(description="Its name.")
    key: str = Field(description="Its key, as `agent-mesh ledger verify --witness` takes it.")
    cosigned_at: str | None = Field(
        description="When it cosigned the checkpoint: RFC 3339, UTC. Missing if it has not."
    )


class AnchorAnswer(_Answer):
    """What another ledger has."""

    name: str = Field(description="`azure`.")
    size: int = Field(description="Entries of the checkpoint that it has.")
    transaction: str = Field(description="Its id of the entry.")
    receipt: str = Field(description="Its receipt: JSON, with the entry and the certificate of its service.")


class WitnessesAnswer(_Answer):
    """The answer to `GET /witnesses`."""

    checkpoint: str | None = Field(
        description="The newest checkpoint that enough have cosigned: a signed note. Missing if there is none."
    )
    size: int = Field(description="Its entries; 0 if there is none.")
    quorum: int = Field(description="How many witnesses are enough; 0 if there are none.")
    witnesses: list[CosignerAnswer] = Field(description="Those that are asked.")
    anchors: list[AnchorAnswer] = Field(description="What other ledgers have.")


def add_witness_routes(app: FunctionApp, parts: FunctionParts) -> None:
    """Add the routes to the audit function's app. A setting that cannot be used stops the start."""
    rounds = _Rounds(parts)
    settings = parts.settings
    readers = parts.caller_access(settings.callers, settings.operators, settings.viewers)

    @app.route(
        "POST",
        "/witness",
        access=parts.caller_access(settings.operators),
        answers={200: RoundAnswer},
        summary="Ask the witnesses to cosign the newest checkpoint (schedule)",
    )
    def witness() -> RoundAnswer:
        return rounds.run()

    @app.route(
        "GET", "/witnesses", access=readers, answers={200: WitnessesAnswer}, summary="What witnesses have cosigned"
    )
    def witnesses() -> WitnessesAnswer:
        found = rounds.found()
        return WitnessesAnswer(
            checkpoint=str(found.note) if found.note else None,
            size=found.size,
            quorum=rounds.needed,
            witnesses=[_cosigner(each, found) for each in rounds.witnesses],
            anchors=[AnchorAnswer(name=name, **vars(anchor)) for name, anchor in found.anchors.items()],
        )


class _Rounds:
    """The rounds of this process, one after the other."""

    def __init__(self, parts: FunctionParts) -> None:
        settings = parts.settings
        quorum = quorum_from(settings)
        self.witnesses = witnesses_from(settings)
        self.needed = quorum.needed if quorum else 0
        self._parts = parts
        self._lock = threading.Lock()
        self._kept = CosignedStore(parts.database)
        azure = azure_ledger_from(settings)
        self._witnessing = Witnessing(LedgerStore(parts.database), self._kept, self.witnesses, self.needed, azure)

    def found(self) -> Cosigned:
        """Return what witnesses have cosigned.

        Raises:
            Unavailable: the database is out of reach, or the document damaged.
        """
        with _damage_told():
            return self._kept.read()

    def run(self) -> RoundAnswer:
        """Run a round, and tell what it brought.

        Raises:
            Busy: another round of this process is going on.
            Unavailable: the database is out of reach, or the ledger damaged.
        """
        if not self._lock.acquire(timeout=_PATIENCE_S):
            raise Busy("Another round is going on; what it brings is kept.", retry_after_s=30)
        try:
            with _damage_told():
                done = self._witnessing.round()
        finally:
            self._lock.release()
        for name, fault in done.faults.items():
            forked = isinstance(fault, LedgerForked)
            level = logging.ERROR if forked else logging.WARNING
            log(str(fault), level=level, type=FORKED_LOG if forked else UNWITNESSED_LOG, witness=name, code=fault.code)
        if done.new:
            tell_witnessed(self._parts.events, origin_from(self._parts.settings), done)
        faults = [WitnessFault(witness=name, code=each.code, fault=str(each)) for name, each in done.faults.items()]
        return RoundAnswer(size=done.size, cosigned=list(done.cosigned), faults=faults, new=done.new)


def tell_witnessed(events: EventLog, origin: str, done: Round) -> None:
    """Tell of a round that brought something: who has cosigned the checkpoint of how many entries by now."""
    data: dict[str, JsonValue] = {
        "size": done.size,
        "cosigned": list[JsonValue](done.cosigned),
        "missing": list[JsonValue](sorted(done.faults)),
    }
    events.emit(WITNESSED_EVENT, origin, data, once=f"{done.size}:{','.join(done.cosigned)}:{done.new}")


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except LedgerError as error:
        log(f"what is stored of the ledger is damaged: {error}", level=logging.ERROR)
        detail = "What is stored of the ledger is damaged; `agent-mesh ledger fsck` says where."
        raise Unavailable(detail, retry_after_s=300) from error


def _cosigner(witness: WitnessClient, found: Cosigned) -> CosignerAnswer:
    signatures = found.note.signatures if found.note else ()
    times = [cosigned_at(each.signature) for each in signatures if each.names(witness.key)]
    at = rfc3339(moment(times[0])) if times else None
    return CosignerAnswer(name=witness.name, key=str(witness.key), cosigned_at=at)
