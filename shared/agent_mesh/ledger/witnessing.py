"""One round of witnessing: every witness is asked for its cosignature of the head, all of them at once.

It runs on a schedule and beside the appends: nobody who appends waits for a witness, and a witness that is gone stops
nothing. What could not be had is asked for again in the next round.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Final

from agent_mesh.ledger.azure_ledger import AZURE, AzureLedger
from agent_mesh.ledger.checkpoints import parse_checkpoint
from agent_mesh.ledger.cosigned import Cosigned, CosignedStore
from agent_mesh.ledger.errors import LedgerError, LedgerForked, NotWitnessed, WitnessAhead
from agent_mesh.ledger.growth import nodes_from_tiles
from agent_mesh.ledger.notes import Note, NoteSignature, parse_note
from agent_mesh.ledger.proofs import consistency_proof
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.ledger.witness_client import WitnessClient

_MOST_AT_ONCE: Final = 16


@dataclass(frozen=True)
class Round:
    """What became of a round."""

    size: int
    """Entries of the checkpoint that was shown; 0 where there is none yet."""

    cosigned: tuple[str, ...] = ()
    """Names of the witnesses that have cosigned it, in this round or before."""

    faults: dict[str, NotWitnessed] = field(default_factory=dict)
    """By the names of the others: why not."""

    new: int = 0
    """How many cosignatures and receipts this round brought."""


@dataclass(frozen=True)
class Witnessing:
    """Whom to ask, and where the ledger is."""

    ledger: LedgerStore
    kept: CosignedStore
    witnesses: Sequence[WitnessClient]
    needed: int
    """So many cosignatures make a checkpoint take the place of an older one that has as many."""

    azure: AzureLedger | None = None
    """Gets what is kept: the newest checkpoint that was cosigned, or without witnesses the head."""

    def round(self) -> Round:
        """Ask every witness that has not cosigned the head yet; keep what they answer.

        Raises:
            Unavailable: the database is out of reach.
        """
        if not self.witnesses and self.azure is None:
            return Round(0)
        head = self.ledger.head()
        if head.checkpoint is None:
            return Round(0)
        note, before = parse_note(head.checkpoint), self.kept.read()
        signed = _signers(note, before, self.witnesses)
        answers = self._asked([witness for witness in self.witnesses if witness.name not in signed], note, before)
        given = {name: answer for name, answer in answers.items() if isinstance(answer, NoteSignature)}
        faults = self._judged({name: fault for name, fault in answers.items() if isinstance(fault, NotWitnessed)})
        after = self.kept.add(note, list(given.values()), self.needed) if given else before
        anchored = self._anchored(note, after, faults)
        return Round(head.tree.end, tuple(sorted([*signed, *given])), faults, len(given) + anchored)

    def _asked(
        self, witnesses: Sequence[WitnessClient], note: Note, before: Cosigned
    ) -> dict[str, NoteSignature | NotWitnessed]:
        """Return each witness's answer. The threads end with this call."""
        size = parse_checkpoint(note.text).size
        node = nodes_from_tiles(size, self.ledger.read)

        def asked(witness: WitnessClient) -> NoteSignature | NotWitnessed:
            seen = min(before.seen_by(witness.key), size)
            try:
                return witness.cosign(note, size, seen, lambda old: consistency_proof(node, old, size))
            except NotWitnessed as error:
                return error
            except LedgerError as error:
                return NotWitnessed(f"the proof for the witness {witness.name!r} cannot be made: {error}")

        if not witnesses:
            return {}
        with ThreadPoolExecutor(min(len(witnesses), _MOST_AT_ONCE)) as threads:
            answers = [threads.submit(copy_context().run, asked, witness) for witness in witnesses]
            return {witness.name: answer.result() for witness, answer in zip(witnesses, answers, strict=True)}

    def _judged(self, faults: dict[str, NotWitnessed]) -> dict[str, NotWitnessed]:
        """Return the faults; a witness is ahead of a ledger that was rolled back, or only of this round."""
        if not any(isinstance(fault, WitnessAhead) for fault in faults.values()):
            return faults
        size = self.ledger.head().tree.end
        return {
            name: LedgerForked(f"{fault}; the ledger has {size}: it was rolled back, or there are two")
            if isinstance(fault, WitnessAhead) and fault.size > size
            else fault
            for name, fault in faults.items()
        }

    def _anchored(self, head: Note, kept: Cosigned, faults: dict[str, NotWitnessed]) -> int:
        """Post to Azure what is kept and was not posted yet; return how many receipts that brought."""
        note = kept.note if self.witnesses else head
        known = kept.anchors.get(AZURE)
        if self.azure is None or note is None or (known and known.size >= parse_checkpoint(note.text).size):
            return 0
        try:
            anchor = self.azure.anchor(note)
        except NotWitnessed as error:
            faults[AZURE] = error
            return 0
        self.kept.anchor(AZURE, anchor)
        return 1


def _signers(note: Note, before: Cosigned, witnesses: Sequence[WitnessClient]) -> set[str]:
    """Return the names of the witnesses that have cosigned this very checkpoint already."""
    if before.note is None or before.note.text != note.text:
        return set()
    return {witness.name for witness in witnesses if before.seen_by(witness.key)}
