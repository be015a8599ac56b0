"""Who signs: a key that somebody else keeps, or one in a local file."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final, Protocol

from agent_mesh.ledger.cosignatures import cosigned_message, encode_cosignature
from agent_mesh.ledger.errors import MalformedKey
from agent_mesh.ledger.keys import KEY_BYTES, KeyKind, VerifierKey, encode_base64, is_key_name, split_key
from agent_mesh.ledger.notes import Note, NoteSignature

_PRIVATE: Final = "PRIVATE+KEY+"
_OTHERS: Final = 0o077
_OWNER_ONLY: Final = 0o600


class Signer(Protocol):
    """Signs with an Ed25519 key, wherever that is kept."""

    @property
    def name(self) -> str:
        """The name under which the key is known: a log's origin, or a witness's name."""
        ...

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`, 64 bytes."""
        ...


class LocalSigner:
    """A key in this process's memory. Its `repr` does not show it."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take the 32 secret bytes of RFC 8032.

        Raises:
            MalformedKey: they are not 32, or no key may have that name.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if len(seed) != KEY_BYTES:
            raise MalformedKey(f"an Ed25519 private key has {KEY_BYTES} bytes, this one {len(seed)}")
        if not is_key_name(name):
            raise MalformedKey(f"{name[:80]!r} is no name of a key: no spaces, no plus, at most 255 characters")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.name = name
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`."""
        return self._key.sign(message)


def verifier_key(signer: Signer, kind: KeyKind = KeyKind.NOTE) -> VerifierKey:
    """Return the key that verifies what `signer` signs."""
    return VerifierKey(signer.name, kind, signer.public)


def sign_note(text: str, signer: Signer) -> Note:
    """Return `text`, which ends with a line's end, as a note that `signer` has signed."""
    return Note(text, (NoteSignature(signer.name, verifier_key(signer).id, signer.sign(text.encode())),))


def cosign_note(note: Note, witness: Signer, unix_seconds: int) -> Note:
    """Return the note with a cosignature that says that `witness` saw it at this time.

    Whoever calls this has checked that the checkpoint is consistent with all that the witness cosigned before.
    """
    signature = witness.sign(cosigned_message(note.text, unix_seconds))
    key_id = verifier_key(witness, KeyKind.COSIGNATURE).id
    return note.with_signature(NoteSignature(witness.name, key_id, encode_cosignature(unix_seconds, signature)))


def parse_signing_key(text: str) -> LocalSigner:
    """Return the signer of a line `PRIVATE+KEY+name+id+key`, as note tools write it.

    Raises:
        MalformedKey: it is not such a line, or the id is not the key's.
    """
    if not text.startswith(_PRIVATE):
        raise MalformedKey(f"a signing key begins with {_PRIVATE}")
    name, key_id, kind, seed = split_key(text.removeprefix(_PRIVATE))
    signer = LocalSigner(name, seed)
    if verifier_key(signer, kind).id != key_id:
        raise MalformedKey(f"the id of the signing key of {name!r} is not the key's: the line was changed")
    return signer


def open_key_file(path: Path, name: str) -> LocalSigner:
    """Return the signer whose key stands in the file; create the file, for its owner alone, if there is none.

    Raises:
        MalformedKey: the file is no key, is somebody else's to read, or its key has another name.
    """
    if not path.exists():
        _create_key_file(path, name)
    try:
        if path.stat().st_mode & _OTHERS:
            raise MalformedKey(f"others than its owner may use {path}: chmod 600 it, and think of the key as known")
        line = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedKey(f"{path} cannot be read as a key: {error}") from error
    signer = parse_signing_key(line)
    if signer.name != name:
        raise MalformedKey(f"the key in {path} is of {signer.name!r}, not of {name!r}")
    return signer


def _create_key_file(path: Path, name: str) -> None:
    """Write a new key beside its place and link it there: of two that do, one wins, and no reader sees half a key."""
    seed = secrets.token_bytes(KEY_BYTES)
    key_id = verifier_key(LocalSigner(name, seed)).id.hex()
    line = f"{_PRIVATE}{name}+{key_id}+{encode_base64(bytes([KeyKind.NOTE]) + seed)}\n"
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_private(draft, line)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    except OSError as error:
        raise MalformedKey(f"no key can be created at {path}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
