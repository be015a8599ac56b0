"""A witness that anybody can run (https://c2sp.org/tlog-witness): it cosigns what continues all that it cosigned.

What it saw last is a file for each log, replaced as a whole and written through to the disk before the cosignature
leaves: whatever moment it dies at, it never cosigns two ledgers of one name, and none that was rolled back.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent_mesh.ledger.checkpoints import Checkpoint, open_checkpoint, parse_checkpoint
from agent_mesh.ledger.errors import LedgerError, MalformedCheckpoint, MalformedSubmission, SignatureRefused, Unsigned
from agent_mesh.ledger.keys import VerifierKey
from agent_mesh.ledger.notes import Note, parse_note
from agent_mesh.ledger.proofs import verify_consistency
from agent_mesh.ledger.signers import Signer, cosign_note
from agent_mesh.ledger.submissions import SIZE_CONTENT_TYPE, Submission, parse_submission
from agent_mesh.ledger.tree import EMPTY_ROOT


@dataclass(frozen=True)
class WitnessAnswer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class WitnessFolder:
    """What a witness saw last of each log, as files in one folder. Safe for threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Keep files in `folder`, which is made if it is not there."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold everybody else off between a look and the write that it decides."""
        with (self._folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def latest(self, origin: str) -> Note | None:
        """Return the checkpoint that was cosigned last, with the log's signatures; None if there is none.

        Raises:
            MalformedNote: the file was changed.
            OSError, UnicodeDecodeError: it cannot be read.
        """
        path = self._path(origin)
        return parse_note(path.read_text(encoding="utf-8")) if path.exists() else None

    def keep(self, origin: str, note: Note) -> None:
        """Remember a checkpoint; it is on the disk when this returns."""
        descriptor, temporary = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(str(note).encode())
                file.flush()
                os.fsync(descriptor)
            Path(temporary).replace(self._path(origin))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _path(self, origin: str) -> Path:
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.note"


class Witness:
    """Answers `add-checkpoint` for the logs whose keys it is given."""

    def __init__(
        self, signer: Signer, logs: Collection[VerifierKey], folder: WitnessFolder, now: Callable[[], float]
    ) -> None:
        """Cosign as `signer`; `now` gives Unix seconds."""
        self._signer = signer
        self._logs = {key.name: key for key in logs}
        self._folder = folder
        self._now = now

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Return the answer to a submission: 200 and a cosignature, or a refusal as the protocol has them."""
        try:
            submission = parse_submission(body)
            claimed = parse_checkpoint(submission.note.text)
        except (MalformedSubmission, MalformedCheckpoint) as error:
            return _words(400, str(error))
        log_key = self._logs.get(claimed.origin)
        if log_key is None:
            return _words(404, "this witness does not know that log")
        try:
            checkpoint = open_checkpoint(submission.note, log_key)
        except (Unsigned, SignatureRefused) as error:
            return _words(403, str(error))
        if submission.old_size > checkpoint.size:
            return _words(400, "the old size is larger than the checkpoint's")
        with self._folder.locked():
            try:
                latest = self._folder.latest(checkpoint.origin)
                seen = open_checkpoint(latest, log_key) if latest else Checkpoint(checkpoint.origin, 0, EMPTY_ROOT)
            except (LedgerError, OSError, UnicodeDecodeError):
                return _words(503, "what this witness has seen cannot be read: it cosigns nothing until that is mended")
            return _refusal(submission, checkpoint, seen) or self._cosigned(submission, checkpoint, log_key)

    def _cosigned(self, submission: Submission, checkpoint: Checkpoint, log_key: VerifierKey) -> WitnessAnswer:
        signed = tuple(each for each in submission.note.signatures if each.names(log_key))
        note = Note(submission.note.text, signed)
        self._folder.keep(checkpoint.origin, note)
        cosignature = cosign_note(note, self._signer, int(self._now())).signatures[-1]
        return WitnessAnswer(200, f"{cosignature}\n".encode())


def _refusal(submission: Submission, checkpoint: Checkpoint, seen: Checkpoint) -> WitnessAnswer | None:
    """Return the refusal if the checkpoint does not continue what was cosigned last."""
    if submission.old_size != seen.size or (checkpoint.size == seen.size and checkpoint.root != seen.root):
        return WitnessAnswer(409, f"{seen.size}\n".encode(), SIZE_CONTENT_TYPE)
    try:
        _check_continuation(seen, checkpoint, submission.proof)
    except LedgerError as error:
        return _words(422, str(error))
    return None


def _check_continuation(seen: Checkpoint, checkpoint: Checkpoint, proof: tuple[bytes, ...]) -> None:
    if seen.size:
        verify_consistency(seen.size, checkpoint.size, proof, seen.root, checkpoint.root)
    elif proof:
        raise MalformedSubmission("from the empty tree no proof leads: it has to be empty")


def _words(status: int, text: str) -> WitnessAnswer:
    return WitnessAnswer(status, f"{text}\n".encode())
