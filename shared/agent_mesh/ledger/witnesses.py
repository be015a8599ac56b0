"""Which witnesses, and how many, must have cosigned a checkpoint: a log cannot show two faces then."""

from __future__ import annotations

from dataclasses import dataclass

from agent_mesh.ledger.errors import MalformedKey, QuorumMissing, Unsigned
from agent_mesh.ledger.keys import KeyKind, VerifierKey
from agent_mesh.ledger.notes import Note, verify_note


@dataclass(frozen=True)
class WitnessQuorum:
    """So many of these witnesses."""

    witnesses: tuple[VerifierKey, ...]
    needed: int

    def __post_init__(self) -> None:
        """Refuse a quorum that nobody can reach, or that one key reaches twice.

        Raises:
            MalformedKey: a key is of no witness or given twice, or more are needed than there are.
        """
        if any(key.kind is not KeyKind.COSIGNATURE for key in self.witnesses):
            raise MalformedKey("a witness has a key of type 0x04 (cosignature/v1)")
        if len({key.public for key in self.witnesses}) != len(self.witnesses):
            raise MalformedKey("a witness is given twice: each has a key of its own")
        if not 1 <= self.needed <= len(self.witnesses):
            raise MalformedKey(f"{self.needed} of {len(self.witnesses)} witnesses is no quorum")

    def check(self, note: Note) -> tuple[str, ...]:
        """Return the names of the witnesses that have cosigned.

        Raises:
            QuorumMissing: they are too few.
            SignatureRefused: a cosignature says to be of one of them and is not.
            MalformedNote: a cosignature has no time.
        """
        try:
            cosigned = verify_note(note, self.witnesses)
        except Unsigned:
            cosigned = {}
        if len(cosigned) < self.needed:
            raise QuorumMissing(f"{len(cosigned)} of the witnesses have cosigned, {self.needed} are needed")
        return tuple(key.name for key in cosigned)
