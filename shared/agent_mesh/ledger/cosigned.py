"""What witnesses have cosigned, in one document beside the head, and which checkpoint a receipt shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from google.cloud import firestore
from pydantic import BaseModel, ConfigDict, ValidationError

from agent_mesh.ledger.checkpoints import Checkpoint, parse_checkpoint
from agent_mesh.ledger.errors import MalformedHead
from agent_mesh.ledger.keys import VerifierKey
from agent_mesh.ledger.notes import Note, NoteSignature, parse_note
from agent_mesh.ledger.store import COLLECTION
from agent_mesh.platform.firestore import FirestoreClient, firestore_errors, until_settled

COSIGNED: Final = "cosigned"
"""Id of the document."""


@dataclass(frozen=True)
class Anchor:
    """Where another ledger, that of Azure, has a checkpoint: proof that it was there by then."""

    size: int
    """Entries of the checkpoint."""

    transaction: str
    """The other ledger's id of the entry."""

    receipt: str
    """The other ledger's receipt: JSON, with the certificate of its service."""


@dataclass(frozen=True)
class Cosigned:
    """The newest checkpoint that enough witnesses have cosigned, and what other ledgers have of it."""

    note: Note | None = None
    """The checkpoint with the log's signature and the cosignatures."""

    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    """By the names of other ledgers."""

    update_time: Any = None
    """Firestore's; None where there is no document."""

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint, unverified: it is our own."""
        return parse_checkpoint(self.note.text) if self.note else None

    @property
    def size(self) -> int:
        """How many entries it covers; 0 if there is none."""
        return self.checkpoint.size if self.checkpoint else 0

    def seen_by(self, witness: VerifierKey) -> int:
        """Return how many entries the ledger had when a witness cosigned last, as far as this tells: 0 if not."""
        signed = self.note is not None and any(signature.names(witness) for signature in self.note.signatures)
        return self.size if signed else 0

    def cosigned(self, note: Note, added: Sequence[NoteSignature], needed: int) -> Cosigned:
        """Return this with a checkpoint that witnesses have cosigned.

        It takes the place of the one that is there if it is the same, or newer and cosigned by `needed`; a newer one
        with fewer cosignatures takes only the place of one that has too few as well.
        """
        if self.note is not None and self.note.text == note.text:
            return replace(self, note=_with(self.note, added))
        enough_now = len(added) >= needed
        enough_before = self.note is not None and len(self.note.signatures) > needed  # the log's own is one of them
        if added and parse_checkpoint(note.text).size >= self.size and (enough_now or not enough_before):
            return replace(self, note=_with(note, added))
        return self


def covering(index: int, head: Note, cosigned: Note | None) -> Note:
    """Return the checkpoint for a receipt of entry `index`: the cosigned one if it reaches that far, else the head."""
    if cosigned is not None and index < parse_checkpoint(cosigned.text).size:
        return cosigned
    return head


def newest(head: Note, cosigned: Note | None) -> Note:
    """Return the head's checkpoint, with its cosignatures if it is the one that was cosigned."""
    return cosigned if cosigned is not None and cosigned.text == head.text else head


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _StoredAnchor(_Strict):
    size: int
    transaction: str
    receipt: str


class _Stored(_Strict):
    """The document."""

    checkpoint: str
    anchors: dict[str, _StoredAnchor]


class CosignedStore:
    """The document `cosigned` of the collection `ledger`."""

    def __init__(self, database: FirestoreClient) -> None:
        """Keep it in this database."""
        self._database = database

    def read(self) -> Cosigned:
        """Return what is there, nothing where no witness ever cosigned.

        Raises:
            MalformedHead, MalformedNote, MalformedCheckpoint: somebody has changed the document.
        """
        with firestore_errors():
            found = self._document().get()
        fields = found.to_dict() if found.exists else None
        if fields is None:
            return Cosigned()
        try:
            stored = _Stored.model_validate(fields)
        except ValidationError as error:
            raise MalformedHead(f"what witnesses have cosigned cannot be read: {error.errors()[0]['msg']}") from None
        note = parse_note(stored.checkpoint) if stored.checkpoint else None
        if note is not None:
            parse_checkpoint(note.text)
        anchors = {name: Anchor(each.size, each.transaction, each.receipt) for name, each in stored.anchors.items()}
        return Cosigned(note, anchors, found.update_time)

    def add(self, note: Note, cosignatures: Sequence[NoteSignature], needed: int) -> Cosigned:
        """Add cosignatures of a checkpoint; return what is there then.

        Raises:
            Unavailable: the database is out of reach, or too many add at once.
        """
        return self._changed(lambda before: before.cosigned(note, cosignatures, needed))

    def anchor(self, name: str, anchor: Anchor) -> Cosigned:
        """Keep where another ledger has a checkpoint, in place of an older one; return what is there then.

        Raises:
            Unavailable: the database is out of reach, or too many add at once.
        """

        def anchored(before: Cosigned) -> Cosigned:
            known = before.anchors.get(name)
            newer = known is None or known.size <= anchor.size
            return replace(before, anchors={**before.anchors, name: anchor}) if newer else before

        return self._changed(anchored)

    def _changed(self, change: Callable[[Cosigned], Cosigned]) -> Cosigned:
        def once() -> Cosigned:
            before = self.read()
            after = change(before)
            if after != before:
                self._write(after)
            return after

        return until_settled(once)

    def _write(self, wanted: Cosigned) -> None:
        batch = self._database.batch()
        fields = {
            "checkpoint": str(wanted.note) if wanted.note else "",
            "anchors": {name: vars(anchor) for name, anchor in wanted.anchors.items()},
        }
        if wanted.update_time is None:
            batch.create(self._document(), fields)
        else:
            batch.update(self._document(), fields, option=self._database.unchanged_since(wanted.update_time))
        with firestore_errors():
            batch.commit()

    def _document(self) -> firestore.DocumentReference:
        return self._database.collection(COLLECTION).document(COSIGNED)


def _with(note: Note, added: Sequence[NoteSignature]) -> Note:
    for signature in added:
        others = tuple(
            each for each in note.signatures if (each.name, each.key_id) != (signature.name, signature.key_id)
        )
        note = Note(note.text, (*others, signature))
    return note
