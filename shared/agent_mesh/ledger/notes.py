"""Signed notes (https://c2sp.org/signed-note): a text, and lines of signatures below it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from agent_mesh.ledger.cosignatures import COSIGNATURE_BYTES, cosigned_at, cosigned_message
from agent_mesh.ledger.errors import MalformedNote, SignatureRefused, Unsigned
from agent_mesh.ledger.keys import (
    KEY_ID_BYTES,
    KeyKind,
    VerifierKey,
    decode_base64,
    encode_base64,
    is_key_name,
)

MAX_NOTE_CHARACTERS: Final = 1_000_000
MAX_SIGNATURES: Final = 100

_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE: Final = re.compile(r"— (?P<name>\S+) (?P<signature>[A-Za-z0-9+/=]+)")


@dataclass(frozen=True)
class NoteSignature:
    """One line below a note: who says to have signed, and the signature. `str` is the line."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        """Return the line, without its end."""
        return f"— {self.name} {encode_base64(self.key_id + self.signature)}"

    def names(self, key: VerifierKey) -> bool:
        """Return whether this says to be a signature of `key`."""
        return (self.name, self.key_id) == (key.name, key.id)


@dataclass(frozen=True)
class Note:
    """A text with its signatures, none of them verified. `str` is the whole note."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        """Return the note as it is sent and kept."""
        return f"{self.text}\n" + "".join(f"{signature}\n" for signature in self.signatures)

    def with_signature(self, signature: NoteSignature) -> Note:
        """Return the note with one more signature."""
        return Note(self.text, (*self.signatures, signature))


def parse_note(note: str) -> Note:
    """Return the parts of a note. Nothing is verified.

    Raises:
        MalformedNote: it does not follow the format.
    """
    _check_text(note)
    text, separator, block = note.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise MalformedNote("a note is a text, an empty line and lines of signatures, each with its line's end")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedNote(f"a note with {len(lines)} signatures is refused, {MAX_SIGNATURES} are the most")
    return Note(f"{text}\n", tuple(_parsed_signature(line) for line in lines))


def verify_note(note: Note, keys: Collection[VerifierKey]) -> dict[VerifierKey, NoteSignature]:
    """Return which of `keys` have signed, and how. Signatures of other keys are ignored, as the format says.

    Raises:
        SignatureRefused: a signature says to be of one of `keys` and is not.
        Unsigned: none of `keys` has signed.
    """
    signed: dict[VerifierKey, NoteSignature] = {}
    for signature in note.signatures:
        for key in keys:
            if signature.names(key):
                _verify(note.text, signature, key)
                signed.setdefault(key, signature)
    if not signed:
        raise Unsigned("none of the keys that are trusted has signed this note")
    return signed


def _verify(text: str, signature: NoteSignature, key: VerifierKey) -> None:
    message, raw = text.encode(), signature.signature
    if key.kind is KeyKind.COSIGNATURE:
        message, raw = cosigned_message(text, cosigned_at(raw)), raw[-COSIGNATURE_BYTES:]
    if not key.verifies(message, raw):
        raise SignatureRefused(f"the signature under the name {key.name!r} was not made by the key {key}")


def _check_text(note: str) -> None:
    if len(note) > MAX_NOTE_CHARACTERS:
        raise MalformedNote(f"a note of {len(note)} characters is refused, {MAX_NOTE_CHARACTERS} are the most")
    try:
        note.encode()
    except UnicodeEncodeError:
        raise MalformedNote("the note has characters that UTF-8 does not have") from None
    if _CONTROL.search(note):
        raise MalformedNote("the note has control characters other than a line's end")


def _parsed_signature(line: str) -> NoteSignature:
    parts = _SIGNATURE.fullmatch(line)
    raw = decode_base64(parts["signature"]) if parts else None
    if parts is None or raw is None or not is_key_name(parts["name"]) or len(raw) <= KEY_ID_BYTES:
        raise MalformedNote(f"{line[:120]!r} is no signature: '— ', a key's name, a space, base64 of id and signature")
    return NoteSignature(parts["name"], raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])
