"""What the audit function answers. snake_case on the wire."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent_mesh.ledger.entries import PayloadDigest
from agent_mesh.ledger.receipts import Receipt


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class AuditAnswer(_Answer):
    """The answer to `POST /audit`: the entry is in the ledger, and here is the proof."""

    acl_txn: str = Field(description="Id of the entry in the ledger.")
    tx_id: str = Field(description="The transaction that it belongs to.")
    index: int = Field(description="Its place in the ledger; the first is 0.")
    ts: float = Field(description="Unix seconds at which it arrived.")
    repeated: bool = Field(description="True if it was there before; then everything here is of the first time.")
    proof: Receipt = Field(description="Its receipt, under the checkpoint of the commit.")


class AuditBatchAnswer(_Answer):
    """The answer to `POST /audit/batch`, in the order of the request."""

    entries: list[AuditAnswer] = Field(description="One answer for each entry.")


class TransactionRecord(_Answer):
    """One entry of a transaction."""

    index: int = Field(description="Its place in the ledger; the first is 0.")
    id: str = Field(description="Id of the entry: an event's own, where it came as one.")
    event: str = Field(description="What happened.")
    actor: str = Field(description="Who did it, as it was said.")
    recorded_by: str | None = Field(description="E-mail of who handed it in, as the ledger verified it.")
    ts: str = Field(description="When it arrived: RFC 3339, UTC.")
    payload: dict[str, JsonValue] | None = Field(description="Missing where the entry has only its digest.")
    payload_digest: PayloadDigest | None = Field(description="Of a payload that is too large for the ledger.")
    entry: str = Field(description="Canonical JSON whose UTF-8 bytes the tree hashes.")
    receipt: Receipt | None = Field(description="Missing where `proof=false` was asked for.")


class TransactionRecords(_Answer):
    """The answer to `GET /tx/{tx_id}`, in the ledger's order."""

    tx_id: str = Field(description="The transaction.")
    records: list[TransactionRecord] = Field(description="Its entries.")
    next_cursor: str | None = Field(description="Give it as `cursor` to get the next page; missing on the last one.")


class ProofAnswer(_Answer):
    """A proof of RFC 9162, from the leaf's or the older tree's side on."""

    proof: list[str] = Field(description="Base64 of 32 bytes each.")


class HeartbeatAnswer(_Answer):
    """The answer to `POST /heartbeat`."""

    index: int = Field(description="Place of the heartbeat's entry.")
    size: int = Field(description="How many entries the ledger has.")


class FsckFinding(_Answer):
    """Something that is stored and is not as the entries and the log's signature say."""

    place: str = Field(description="Path of a tile or bundle, number of an entry, `index of` a bundle, or `head`.")
    fault: str = Field(description="What is wrong there.")


class FsckReport(_Answer):
    """The answer to `POST /fsck`. A ledger is intact if no part of it, up to the last, has a finding."""

    size: int = Field(description="Entries of the tree that was read.")
    findings: list[FsckFinding] = Field(description="None if no byte was changed.")
    next_bundle: int | None = Field(description="Where the next call goes on; missing once all was read.")
