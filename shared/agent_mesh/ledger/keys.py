"""Verifier keys of C2SP signed-note (https://c2sp.org/signed-note): a name, what it signs, and a public key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

from agent_mesh.ledger.errors import MalformedKey

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 4

_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f\ud800-\udfff]{1,255}")
_PARTS: Final = re.compile(r"(?P<name>[^+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")


class KeyKind(IntEnum):
    """What a key signs, as the signature types of signed-note."""

    NOTE = 0x01
    """Ed25519 over the text of a note: a log signs so."""

    COSIGNATURE = 0x04
    """Ed25519 over a time and the text of a checkpoint (https://c2sp.org/tlog-cosignature): a witness signs so."""


@dataclass(frozen=True)
class VerifierKey:
    """A public key under a name. `str` is its one line, `name+id+key`, to be given to those who verify."""

    name: str
    kind: KeyKind
    public: bytes

    def __post_init__(self) -> None:
        """Refuse names and keys that signed-note does not allow.

        Raises:
            MalformedKey: the name has spaces, a plus or nothing at all; the key is not 32 bytes.
        """
        if not is_key_name(self.name):
            raise MalformedKey(f"{self.name[:80]!r} is no name of a key: no spaces, no plus, at most 255 characters")
        if len(self.public) != KEY_BYTES:
            raise MalformedKey(f"an Ed25519 public key has {KEY_BYTES} bytes, this one {len(self.public)}")

    def __str__(self) -> str:
        """Return `name+id+key`."""
        return f"{self.name}+{self.id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"

    @cached_property
    def id(self) -> bytes:
        """The four bytes by which a signature names its key: an address, no proof."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public).digest()[:KEY_ID_BYTES]

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether `signature` is this key's over `message`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def parse_verifier_key(text: str) -> VerifierKey:
    """Return the key that a line `name+id+key` gives.

    Raises:
        MalformedKey: it is not such a line, of a kind that is not known, or the id is not the key's.
    """
    name, key_id, kind, public = split_key(text)
    key = VerifierKey(name, kind, public)
    if key.id != key_id:
        raise MalformedKey(f"the key of {name!r} has the id {key.id.hex()}, the line says {key_id.hex()}")
    return key


def split_key(text: str) -> tuple[str, bytes, KeyKind, bytes]:
    """Return name, id, kind and key of a line `name+id+key`, unchecked.

    Raises:
        MalformedKey: it is not such a line, or of a kind that is not known.
    """
    parts = _PARTS.fullmatch(text)
    encoded = decode_base64(parts["key"]) if parts else None
    if parts is None or not encoded:
        raise MalformedKey("a key is written name+id+key: eight small hex digits and base64")
    if encoded[0] not in set(KeyKind):
        raise MalformedKey(f"the key of {parts['name'][:80]!r} is of type {encoded[0]:#04x}, which is not known here")
    return parts["name"], bytes.fromhex(parts["id"]), KeyKind(encoded[0]), encoded[1:]


def is_key_name(name: str) -> bool:
    """Return whether a key may have this name."""
    return _NAME.fullmatch(name) is not None


def encode_base64(raw: bytes) -> str:
    """Return standard base64 (RFC 4648 section 4)."""
    return base64.b64encode(raw).decode("ascii")


def decode_base64(text: str) -> bytes | None:
    """Return the bytes, None if `text` is not the one standard base64 of any."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if encode_base64(raw) == text else None
