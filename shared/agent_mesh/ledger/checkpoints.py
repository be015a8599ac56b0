"""Checkpoints (https://c2sp.org/tlog-checkpoint): the size and root of a log's tree, signed by the log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent_mesh.ledger.errors import MalformedCheckpoint, Unsigned, WrongOrigin
from agent_mesh.ledger.keys import VerifierKey, decode_base64, encode_base64
from agent_mesh.ledger.notes import Note, verify_note
from agent_mesh.ledger.tree import MAX_SIZE

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_FIXED_LINES: Final = 3


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: its origin, how many entries it has, and their root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be written as lines.

        Raises:
            MalformedCheckpoint: a line would be empty or end early, or no tree has that size.
        """
        lines = (self.origin, *self.extensions)
        if not all(lines) or any("\n" in line for line in lines):
            raise MalformedCheckpoint("the origin and the extensions of a checkpoint are lines, none of them empty")
        if not 0 <= self.size <= MAX_SIZE or not self.root:
            raise MalformedCheckpoint(f"a checkpoint has a size up to {MAX_SIZE} and a root")

    @property
    def text(self) -> str:
        """The body of the note, as it is signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that the body of a note is.

    Raises:
        MalformedCheckpoint: it is none.
    """
    lines = text.split("\n")
    if lines.pop() or len(lines) < _FIXED_LINES:
        raise MalformedCheckpoint("a checkpoint is an origin, a size, a root and extensions, each a whole line")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise MalformedCheckpoint(f"{size[:40]!r} is no size of a tree: decimal digits, no zero in front")
    decoded = decode_base64(root)
    if decoded is None:
        raise MalformedCheckpoint(f"{root[:80]!r} is no root: standard base64")
    return Checkpoint(origin, int(size), decoded, tuple(extensions))


def open_checkpoint(note: Note, log_key: VerifierKey) -> Checkpoint:
    """Return the checkpoint that a log has signed. The log's origin is the name of its key.

    Raises:
        Unsigned: the log has not signed it.
        SignatureRefused: a signature says to be the log's and is not.
        MalformedCheckpoint: what it signed is no checkpoint.
        WrongOrigin: it is the checkpoint of another log.
    """
    try:
        verify_note(note, (log_key,))
    except Unsigned:
        raise Unsigned(f"the checkpoint is not signed by the log's key {log_key}") from None
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log_key.name:
        raise WrongOrigin(f"the checkpoint is of the log {checkpoint.origin!r}, the key is of {log_key.name!r}")
    return checkpoint
