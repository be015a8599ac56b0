"""What a witness is sent (https://c2sp.org/tlog-witness): the size that it saw last, a proof, and a checkpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent_mesh.ledger.errors import MalformedNote, MalformedSubmission
from agent_mesh.ledger.keys import decode_base64, encode_base64
from agent_mesh.ledger.notes import Note, parse_note
from agent_mesh.ledger.tree import HASH_BYTES, MAX_SIZE

SIZE_CONTENT_TYPE: Final = "text/x.tlog.size"
"""Of the answer 409: the size that the witness saw last, and the line's end."""

MAX_SUBMISSION_BYTES: Final = 64 * 1024
_LONGEST_PROOF: Final = 63
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True)
class Submission:
    """A checkpoint, and the proof that it continues what the witness saw last."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """Return the body of `add-checkpoint`."""
        lines = [f"old {self.old_size}", *map(encode_base64, self.proof), "", str(self.note)]
        return "\n".join(lines).encode()


def parse_submission(body: bytes) -> Submission:
    """Return the submission that the body of `add-checkpoint` is. Nothing is verified.

    Raises:
        MalformedSubmission: it is none.
    """
    if len(body) > MAX_SUBMISSION_BYTES:
        raise MalformedSubmission(f"a submission has at most {MAX_SUBMISSION_BYTES} bytes, this one {len(body)}")
    try:
        head, separator, checkpoint = body.decode().partition("\n\n")
        note = parse_note(checkpoint)
    except (UnicodeDecodeError, MalformedNote) as error:
        raise MalformedSubmission(f"there is no checkpoint after the first empty line: {error}") from None
    first, *hashes = head.split("\n")
    old = _OLD.fullmatch(first)
    if not separator or old is None or int(old[1]) > MAX_SIZE:
        raise MalformedSubmission(f"{first[:40]!r} is no line 'old SIZE'")
    if len(hashes) > _LONGEST_PROOF:
        raise MalformedSubmission(f"a proof has at most {_LONGEST_PROOF} hashes, this one {len(hashes)}")
    return Submission(int(old[1]), tuple(map(_hash, hashes)), note)


def parse_size(body: bytes) -> int | None:
    """Return the size that a witness answers with 409, None if it is none."""
    found = _SIZE.fullmatch(body)
    return int(found[1]) if found and int(found[1]) <= MAX_SIZE else None


def _hash(line: str) -> bytes:
    value = decode_base64(line)
    if value is None or len(value) != HASH_BYTES:
        raise MalformedSubmission(f"{line[:60]!r} is no line of a proof: base64 of {HASH_BYTES} bytes")
    return value
