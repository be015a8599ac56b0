"""Everything that the ledger refuses, as one small tree.

```
LedgerError                   code; says what is wrong, and with what
├── Malformed                 bytes or text that do not follow their format
│   ├── MalformedEntry        not an audit entry, or one that has no canonical JSON
│   ├── MalformedTile         a tile, an entry bundle or a path of one
│   ├── MalformedHead         what is stored as the head, or as the index of a bundle
│   ├── MalformedNote         not a signed note, or not a cosignature
│   ├── MalformedKey          a verifier key, a signing key or a file of one
│   ├── MalformedCheckpoint   not the body of a checkpoint
│   ├── MalformedReceipt      not a receipt
│   └── MalformedSubmission   not a checkpoint with a proof, as a witness is sent them
├── OutOfRange                an index, a size or a range that the tree does not have
├── TileMissing               a proof needs a tile that is not there, or that is too narrow
├── HeadRefused               the head is not as this ledger's key has signed it, or has lost entries
├── PayloadMismatch           a payload is not the one whose digest stands in the entry
├── ProofRefused              a proof does not lead to the root that was signed
├── SignatureRefused          a signature that names a known key was not made by it
├── Unsigned                  the log's own key has not signed
├── WrongOrigin               a checkpoint of another log
├── QuorumMissing             fewer witnesses have cosigned than were asked for
└── NotWitnessed              a witness, or a ledger that serves as one, did not take a checkpoint
    ├── WitnessUnavailable    it cannot be reached, or not at the moment
    ├── WitnessRefused        it refuses, or its answer is not what it has to be
    ├── WitnessAhead          it has seen a longer ledger already
    └── LedgerForked          it has seen another ledger of this name
```

Whoever reads a receipt, a note or a tile of an unknown sender meets these errors and no other.
"""

from __future__ import annotations

from typing import ClassVar


class LedgerError(Exception):
    """Base of every refusal."""

    code: ClassVar[str] = "ledger_error"


class Malformed(LedgerError):
    """Bytes or text that do not follow their format."""

    code = "malformed"


class MalformedEntry(Malformed):
    """Not an audit entry, or one that has no canonical JSON."""

    code = "malformed_entry"


class MalformedTile(Malformed):
    """A tile, an entry bundle, or a path of one, that does not follow C2SP tlog-tiles."""

    code = "malformed_tile"


class MalformedHead(Malformed):
    """What is stored as the head of the tree, or as the index of a bundle, has not the fields of one."""

    code = "malformed_head"


class MalformedNote(Malformed):
    """Not a signed note, or not a cosignature."""

    code = "malformed_note"


class MalformedKey(Malformed):
    """A verifier key, a signing key, or the file of one, that cannot be used."""

    code = "malformed_key"


class MalformedCheckpoint(Malformed):
    """Not the body of a checkpoint."""

    code = "malformed_checkpoint"


class MalformedReceipt(Malformed):
    """Not a receipt."""

    code = "malformed_receipt"


class MalformedSubmission(Malformed):
    """Not a checkpoint with the size before it and a consistency proof, as a witness is sent them."""

    code = "malformed_submission"


class OutOfRange(LedgerError):
    """An index, a size or a range that the tree does not have."""

    code = "out_of_range"


class TileMissing(LedgerError):
    """A proof needs a tile that is not there, or that is too narrow."""

    code = "tile_missing"


class HeadRefused(LedgerError):
    """The head is not as this ledger's key has signed it, or has lost entries: nothing is appended to it."""

    code = "head_refused"


class PayloadMismatch(LedgerError):
    """A payload is not the one whose digest stands in the entry."""

    code = "payload_mismatch"


class ProofRefused(LedgerError):
    """A proof does not lead to the root that was signed."""

    code = "proof_refused"


class SignatureRefused(LedgerError):
    """A signature that names a known key was not made by it."""

    code = "signature_refused"


class Unsigned(LedgerError):
    """The log's own key has not signed."""

    code = "unsigned"


class WrongOrigin(LedgerError):
    """A checkpoint of another log."""

    code = "wrong_origin"


class QuorumMissing(LedgerError):
    """Fewer witnesses have cosigned than were asked for."""

    code = "quorum_missing"


class NotWitnessed(LedgerError):
    """A witness, or a ledger that serves as one, did not take a checkpoint."""

    code = "not_witnessed"


class WitnessUnavailable(NotWitnessed):
    """The witness cannot be reached, or not at the moment."""

    code = "witness_unavailable"


class WitnessRefused(NotWitnessed):
    """The witness refuses the checkpoint, or what it answered is not what it has to be."""

    code = "witness_refused"


class WitnessAhead(NotWitnessed):
    """The witness has seen a longer ledger already: another round was faster, or this ledger was rolled back."""

    code = "witness_ahead"

    def __init__(self, message: str, size: int) -> None:
        """Keep how many entries the ledger had that the witness has seen."""
        super().__init__(message)
        self.size = size


class LedgerForked(NotWitnessed):
    """The witness has seen another ledger of this name: somebody shows two faces."""

    code = "ledger_forked"
