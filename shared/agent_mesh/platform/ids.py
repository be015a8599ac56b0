"""Opaque ids. They spread over Firestore's key space: no counter and no time stands in front."""

from __future__ import annotations

import base64
import hashlib
import secrets

_ID_BYTES = 16


def random_id(prefix: str) -> str:
    """Return `prefix_` and 128 random bits."""
    return f"{prefix}_{_text(secrets.token_bytes(_ID_BYTES))}"


def derived_id(prefix: str, *parts: str) -> str:
    """Return `prefix_` and 128 bits that depend on `parts` alone: equal parts give equal ids.

    The parts are hashed with their lengths, so that ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return f"{prefix}_{_text(digest.digest()[:_ID_BYTES])}"


def fingerprint(*parts: str) -> str:
    """Return a SHA-256 in hex over `parts`, for telling whether two requests are the same."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def _text(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
