"""Asks a witness to cosign a checkpoint (https://c2sp.org/tlog-witness), and believes nothing that it cannot verify."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from agent_mesh.ledger.errors import (
    LedgerForked,
    MalformedKey,
    MalformedNote,
    SignatureRefused,
    Unsigned,
    WitnessAhead,
    WitnessRefused,
    WitnessUnavailable,
)
from agent_mesh.ledger.keys import KeyKind, VerifierKey
from agent_mesh.ledger.notes import Note, NoteSignature, parse_note, verify_note
from agent_mesh.ledger.submissions import SIZE_CONTENT_TYPE, Submission, parse_size

if TYPE_CHECKING:  # imported at the first request
    import urllib3

Prover: TypeAlias = Callable[[int], Sequence[bytes]]
"""Gives the proof that the tree of a checkpoint continues the one of so many leaves; none for no leaves."""

_TIMEOUT_S: Final = 10.0
_LONGEST_ANSWER: Final = 64 * 1024
_ATTEMPTS: Final = 3
"""One with the size that we remember, one with the size that the witness tells, one more for a race."""

_OK: Final = 200
_CONFLICT: Final = 409
_TRANSIENT: Final = frozenset({408, 429})
_SERVER_ERROR: Final = 500
_REFUSALS: Final = {
    400: "does not understand the submission",
    403: "trusts no key that has signed the checkpoint",
    404: "does not know this ledger",
    422: "says that the proof does not lead from what it saw to the checkpoint",
}


class WitnessClient:
    """One witness: its submission prefix and its key. Safe for threads."""

    def __init__(self, prefix: str, key: VerifierKey, timeout_s: float = _TIMEOUT_S) -> None:
        """Ask at `PREFIX/add-checkpoint`; wait `timeout_s` seconds for each answer.

        Raises:
            MalformedKey: the key is of no witness.
        """
        if key.kind is not KeyKind.COSIGNATURE:
            raise MalformedKey(f"the key of the witness {key.name!r} is not of type 0x04 (cosignature/v1)")
        self.key = key
        self._url = f"{prefix.rstrip('/')}/add-checkpoint"
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._pool: urllib3.PoolManager | None = None

    @property
    def name(self) -> str:
        """The witness's name."""
        return self.key.name

    def cosign(self, note: Note, size: int, seen: int, prove: Prover) -> NoteSignature:
        """Return the witness's cosignature of a checkpoint of `size` entries, verified.

        `seen` is how many entries the ledger had when the witness cosigned last, as far as we know: it tells if that
        is wrong.

        Raises:
            WitnessUnavailable: it cannot be reached, or not at the moment.
            WitnessRefused: it refuses, or what it answered is no cosignature of its key.
            WitnessAhead: it has seen a longer ledger.
            LedgerForked: it has seen another ledger of this size.
        """
        for _ in range(_ATTEMPTS):
            submission = Submission(seen, tuple(prove(seen)) if seen else (), note)
            status, content_type, body = self._post(submission.encode())
            if status == _OK:
                return self._verified(note, body)
            if status != _CONFLICT:
                raise self._refused(status, body)
            seen = self._told(content_type, body, size, seen)
        raise WitnessUnavailable(f"the witness {self.name!r} told three times that it has seen another size")

    def _told(self, content_type: str, body: bytes, size: int, seen: int) -> int:
        """Return the size that the witness saw last, where the checkpoint can continue that."""
        told = parse_size(body) if content_type.partition(";")[0].strip() == SIZE_CONTENT_TYPE else None
        if seen == size and told in {None, size}:
            raise LedgerForked(f"the witness {self.name!r} has seen another ledger with {size} entries")
        if told is None:
            raise WitnessRefused(f"the witness {self.name!r} answered 409 without the size that it has seen")
        if told > size:
            message = f"the witness {self.name!r} has seen a ledger with {told} entries, the checkpoint has {size}"
            raise WitnessAhead(message, told)
        return told

    def _verified(self, note: Note, body: bytes) -> NoteSignature:
        """Return the signature of this witness's key; those of others are ignored, as the protocol wants."""
        try:
            answered = parse_note(f"{note.text}\n{body.decode()}")
            return verify_note(answered, (self.key,))[self.key]
        except (UnicodeDecodeError, MalformedNote, SignatureRefused, Unsigned) as error:
            raise WitnessRefused(f"what the witness {self.name!r} answered is no cosignature: {error}") from None

    def _refused(self, status: int, body: bytes) -> WitnessRefused | WitnessUnavailable:
        words = body[:200].decode(errors="replace").strip()
        if status in _TRANSIENT or status >= _SERVER_ERROR:
            return WitnessUnavailable(f"the witness {self.name!r} answered {status}: {words!r}")
        reason = _REFUSALS.get(status, "refuses")
        return WitnessRefused(f"the witness {self.name!r} {reason} (answered {status}: {words!r})")

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        from urllib3.exceptions import HTTPError

        try:
            answer = self._connected().request(
                "POST",
                self._url,
                body=body,
                headers={"Content-Type": "text/plain; charset=utf-8", "User-Agent": "agent-mesh-ledger"},
                preload_content=False,
                redirect=False,
            )
            read = self._read(answer)
        except (HTTPError, OSError) as error:
            raise WitnessUnavailable(
                f"the witness {self.name!r} cannot be reached at {self._url}: {type(error).__name__}"
            ) from error
        return answer.status, answer.headers.get("Content-Type", ""), read

    def _read(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """Return a body that is neither too long nor too long in coming: a timeout bounds only each part of it."""
        deadline, read = time.monotonic() + self._timeout_s, b""
        while part := answer.read1(_LONGEST_ANSWER):
            read += part
            if len(read) > _LONGEST_ANSWER or time.monotonic() > deadline:
                answer.close()  # there is more to come, which the next answer must not begin with
                raise WitnessRefused(f"the witness {self.name!r} answers more, or for longer, than any witness has to")
        answer.release_conn()
        return read

    def _connected(self) -> urllib3.PoolManager:
        import urllib3

        with self._lock:
            if self._pool is None:
                self._pool = urllib3.PoolManager(maxsize=2, retries=False, timeout=self._timeout_s)
            return self._pool
