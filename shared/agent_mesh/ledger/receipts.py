"""Receipts: one JSON document that proves, without asking anybody, that an entry is in the ledger.

The entry stands in a receipt as the text whose bytes the tree hashes: whoever verifies one, in whatever language, has
no canonical JSON to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_mesh.ledger.checkpoints import Checkpoint, open_checkpoint
from agent_mesh.ledger.entries import INLINE_LIMIT_BYTES, AuditEntry, LedgerLeaf, check_payload, parse_entry
from agent_mesh.ledger.errors import MalformedReceipt
from agent_mesh.ledger.keys import VerifierKey, decode_base64, encode_base64
from agent_mesh.ledger.notes import MAX_NOTE_CHARACTERS, Note, parse_note
from agent_mesh.ledger.proofs import verify_inclusion
from agent_mesh.ledger.tree import MAX_SIZE, leaf_hash
from agent_mesh.ledger.witnesses import WitnessQuorum

MAX_RECEIPT_BYTES: Final = 4 * 1024 * 1024
_LONGEST_PROOF: Final = MAX_SIZE.bit_length()


class Receipt(BaseModel):
    """Proof that an entry is in the ledger. Nothing in it is true before `verify_receipt` says so."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: Literal["agent-mesh-receipt/v1"] = Field(default="agent-mesh-receipt/v1", description="This format.")
    index: int = Field(ge=0, lt=MAX_SIZE, description="Place of the entry in the ledger; the first is 0.")
    entry: str = Field(max_length=INLINE_LIMIT_BYTES, description="Canonical JSON whose bytes the tree hashes.")
    payload: str | None = Field(
        default=None, description="Canonical JSON of the payload, where the entry has only its digest."
    )
    proof: list[str] = Field(max_length=_LONGEST_PROOF, description="Inclusion proof of RFC 9162: base64 of 32 bytes.")
    checkpoint: str = Field(max_length=MAX_NOTE_CHARACTERS, description="Signed note of C2SP tlog-checkpoint.")

    @classmethod
    def of(cls, leaf: LedgerLeaf, index: int, proof: Sequence[bytes], checkpoint: Note) -> Self:
        """Return the receipt for the entry at `index` of the tree that `checkpoint` signs."""
        return cls(
            index=index,
            entry=leaf.entry.decode(),
            payload=None if leaf.payload is None else leaf.payload.decode(),
            proof=[encode_base64(value) for value in proof],
            checkpoint=str(checkpoint),
        )


@dataclass(frozen=True)
class Verified:
    """What a receipt proves."""

    entry: AuditEntry
    index: int
    checkpoint: Checkpoint
    witnesses: tuple[str, ...]
    """Names of those in the quorum that have cosigned."""


def parse_receipt(document: str | bytes) -> Receipt:
    """Return the receipt that a JSON document is. Nothing is verified.

    Raises:
        MalformedReceipt: it is none.
    """
    if len(document) > MAX_RECEIPT_BYTES:
        raise MalformedReceipt(f"a receipt has at most {MAX_RECEIPT_BYTES} bytes, this one {len(document)}")
    try:
        return Receipt.model_validate_json(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the receipt"
        raise MalformedReceipt(f"{place}: {first['msg']}") from None


def verify_receipt(receipt: Receipt, log_key: VerifierKey, quorum: WitnessQuorum | None = None) -> Verified:
    """Check a receipt with the log's key, and with the keys of witnesses if a quorum of them is asked for.

    Raises:
        MalformedNote, MalformedCheckpoint: what stands there as checkpoint is none.
        Unsigned, SignatureRefused, WrongOrigin: the log has not signed it.
        QuorumMissing: too few witnesses have.
        MalformedReceipt: the entry or the payload is no UTF-8, or a hash of the proof no base64.
        OutOfRange, ProofRefused: the proof does not show that the entry is at that place of the signed tree.
        MalformedEntry, PayloadMismatch: what is there is no entry, or the payload beside it not its own.
    """
    note = parse_note(receipt.checkpoint)
    checkpoint = open_checkpoint(note, log_key)
    witnesses = quorum.check(note) if quorum else ()
    leaf = _encoded(receipt.entry)
    verify_inclusion(leaf_hash(leaf), receipt.index, checkpoint.size, _decoded(receipt.proof), checkpoint.root)
    entry = parse_entry(leaf)
    if receipt.payload is not None:
        check_payload(entry, _encoded(receipt.payload))
    return Verified(entry, receipt.index, checkpoint, witnesses)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MalformedReceipt("the entry or its payload has characters that UTF-8 does not have") from None


def _decoded(proof: Sequence[str]) -> list[bytes]:
    hashes = []
    for number, text in enumerate(proof):
        value = decode_base64(text)
        if value is None:
            raise MalformedReceipt(f"hash {number} of the proof is not standard base64")
        hashes.append(value)
    return hashes
