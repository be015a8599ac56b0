"""The issuer's RSA key: made once, kept in the state directory, shown as an x509 certificate."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from emulator.errors import StartError

_EXPONENT: Final = 65537
_BITS: Final = 2048
_VALID_FOR: Final = dt.timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RS256 key with its key id and self-signed certificate (PEM)."""

    key_id: str
    certificate: str
    _private: rsa.RSAPrivateKey

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file, or make it (mode 0600), so that tokens survive a restart.

        Raises StartError when the file holds no RSA key.
        """
        if not path.exists():
            _write_private(path, _new_key_file())
        pem = path.read_bytes()
        try:
            private = serialization.load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            message = f"{path} holds no key and certificate ({error}); delete it and start again"
            raise StartError(message) from error
        if not isinstance(private, rsa.RSAPrivateKey):
            message = f"{path} holds no RSA key; delete it and start again"
            raise StartError(message)
        der = certificate.public_bytes(serialization.Encoding.DER)
        shown = certificate.public_bytes(serialization.Encoding.PEM).decode()
        return cls(hashlib.sha256(der).hexdigest()[:40], shown, private)

    def sign(self, claims: Mapping[str, object]) -> str:
        """A compact JWS (RFC 7515) of these claims, RS256, with ``kid`` in the header."""
        header = {"alg": "RS256", "kid": self.key_id, "typ": "JWT"}
        signed = f"{_segment(header)}.{_segment(claims)}"
        signature = self._private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"


def _new_key_file() -> bytes:
    private = rsa.generate_private_key(_EXPONENT, _BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local-oidc-issuer")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _VALID_FOR)
        .sign(private, hashes.SHA256())
    )
    key = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key + certificate.public_bytes(serialization.Encoding.PEM)


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def _segment(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
