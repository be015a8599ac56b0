"""Entries of the audit ledger, and the one sequence of bytes that each of them is.

The bytes are canonical JSON: keys sorted, nothing between the tokens, UTF-8. Bytes are what the tree hashes, so an
entry that is read back must be those bytes again and not merely mean the same.

An entry of more than 4,000 bytes goes in by digest: everything but its payload, of which the SHA-256 and the size stand
in its place. 256 entries then always fit into one document, and who did what and when is in the ledger all the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from agent_mesh.contracts.audit import AuditActor, AuditId
from agent_mesh.contracts.values import JsonObject, canonical_json
from agent_mesh.ledger.errors import MalformedEntry, PayloadMismatch

INLINE_LIMIT_BYTES: Final = 4000


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class PayloadDigest(_Part):
    """Stands for a payload that is too large for the ledger."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the payload's canonical JSON.")
    size: int = Field(ge=0, description="Of the payload's canonical JSON, in bytes.")


class AuditEntry(_Part):
    """What happened: one entry. It has a payload or the digest of one."""

    id: AuditId = Field(description="The same event has the same id however often it arrives.")
    tx_id: AuditId
    event: AuditId
    actor: AuditActor
    ts: str = Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$",
        description="RFC 3339, UTC: when it arrived.",
    )
    payload: JsonObject | None = None
    payload_digest: PayloadDigest | None = None
    recorded_by: AuditActor | None = Field(
        default=None, description="E-mail of who handed it in, as the ledger verified it; `actor` is what they said."
    )

    @model_validator(mode="after")
    def _one_payload(self) -> Self:
        if (self.payload is None) is (self.payload_digest is None):
            raise ValueError("an entry has either a payload or the digest of one")
        return self

    def canonical(self) -> bytes:
        """Return the entry's bytes.

        Raises:
            MalformedEntry: the payload has no canonical JSON.
        """
        fields: dict[str, JsonValue] = {
            "id": self.id,
            "tx_id": self.tx_id,
            "event": self.event,
            "actor": self.actor,
            "ts": self.ts,
        }
        if self.recorded_by is not None:
            fields["recorded_by"] = self.recorded_by
        if self.payload_digest is None:
            fields["payload"] = self.payload
        else:
            fields["payload_digest"] = self.payload_digest.model_dump()
        return _canonical(fields)


@dataclass(frozen=True)
class LedgerLeaf:
    """An entry as the ledger keeps it."""

    entry: bytes
    """What the tree hashes."""

    payload: bytes | None
    """The payload's canonical JSON where the entry has only its digest, to be kept elsewhere."""


def to_leaf(entry: AuditEntry) -> LedgerLeaf:
    """Return the entry's bytes, by digest if they would be more than 4,000.

    Raises:
        MalformedEntry: the payload has no canonical JSON.
    """
    whole = entry.canonical()
    if entry.payload is None or len(whole) <= INLINE_LIMIT_BYTES:
        return LedgerLeaf(whole, None)
    payload = _canonical(entry.payload)
    digest = PayloadDigest(sha256=hashlib.sha256(payload).hexdigest(), size=len(payload))
    return LedgerLeaf(entry.model_copy(update={"payload": None, "payload_digest": digest}).canonical(), payload)


def parse_entry(leaf: bytes) -> AuditEntry:
    """Return the entry that these bytes are.

    Raises:
        MalformedEntry: they are no entry, or not in its canonical form.
    """
    if len(leaf) > INLINE_LIMIT_BYTES:
        raise MalformedEntry(f"an entry has at most {INLINE_LIMIT_BYTES} bytes, this one {len(leaf)}")
    try:
        entry = AuditEntry.model_validate(json.loads(leaf.decode()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the entry"
        raise MalformedEntry(f"{place}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise MalformedEntry(f"the entry is not JSON ({type(error).__name__})") from None
    if entry.canonical() != leaf:
        raise MalformedEntry("the entry is not in its canonical form: sorted keys, no spaces, UTF-8")
    return entry


def check_payload(entry: AuditEntry, payload: bytes) -> None:
    """Check that these bytes are the payload whose digest the entry has.

    Raises:
        PayloadMismatch: they are not, or the entry has its payload in itself.
    """
    digest = entry.payload_digest
    if digest is None:
        raise PayloadMismatch("the entry has its payload in itself; there is none beside it")
    if digest.size != len(payload) or digest.sha256 != hashlib.sha256(payload).hexdigest():
        raise PayloadMismatch(f"the payload of {len(payload)} bytes is not the one with SHA-256 {digest.sha256}")


def _canonical(value: JsonValue) -> bytes:
    try:
        return canonical_json(value).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedEntry(f"the payload has no canonical JSON ({type(error).__name__})") from None
