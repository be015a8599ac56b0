"""What a witness signs (https://c2sp.org/tlog-cosignature, Ed25519): a checkpoint, and when it was seen."""

from __future__ import annotations

from typing import Final

from agent_mesh.ledger.errors import MalformedNote

COSIGNATURE_BYTES: Final = 64
"""Of an Ed25519 signature; the time stands before it."""

_TIME_BYTES: Final = 8
_LATEST: Final = (1 << 63) - 1


def cosigned_message(text: str, unix_seconds: int) -> bytes:
    """Return the bytes that a witness signs to say that it saw the checkpoint `text` at this time.

    Raises:
        MalformedNote: no cosignature can carry that time.
    """
    _check_time(unix_seconds)
    return f"cosignature/v1\ntime {unix_seconds}\n{text}".encode()


def encode_cosignature(unix_seconds: int, signature: bytes) -> bytes:
    """Return time and signature as they stand in a note.

    Raises:
        MalformedNote: no cosignature can carry that time.
    """
    _check_time(unix_seconds)
    return unix_seconds.to_bytes(_TIME_BYTES, "big") + signature


def cosigned_at(cosignature: bytes) -> int:
    """Return when a witness signed, in Unix seconds.

    Raises:
        MalformedNote: it is not a time and a signature.
    """
    if len(cosignature) != _TIME_BYTES + COSIGNATURE_BYTES:
        raise MalformedNote(f"a cosignature has {_TIME_BYTES + COSIGNATURE_BYTES} bytes, this one {len(cosignature)}")
    unix_seconds = int.from_bytes(cosignature[:_TIME_BYTES], "big")
    _check_time(unix_seconds)
    return unix_seconds


def _check_time(unix_seconds: int) -> None:
    if not 0 <= unix_seconds <= _LATEST:
        raise MalformedNote(f"{unix_seconds} is no time that a cosignature can carry")
