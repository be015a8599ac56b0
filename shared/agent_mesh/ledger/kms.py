"""A signer whose Ed25519 key never leaves Cloud KMS, over its documented REST API.

`asymmetricSign` takes the message itself as `data` for EC_SIGN_ED25519 (PureEdDSA, RFC 8032) and answers the 64 bytes
of the signature; `getPublicKey` answers a PEM. Google's client library costs 0.42 s of import for these two calls
(decision 0019); google-auth's session is imported by every function anyway. No CRC32C is sent or compared: each
signature is verified with the public key over the message that was meant, which finds every bit that a checksum would.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.ledger.errors import MalformedKey
from agent_mesh.ledger.keys import KeyKind, VerifierKey, decode_base64, encode_base64, is_key_name
from agent_mesh.platform.logs import log

if TYPE_CHECKING:  # imported at the first signature: google-auth's session costs 60 ms
    import requests

ALGORITHM: Final = "EC_SIGN_ED25519"
ENDPOINT: Final = "https://cloudkms.googleapis.com"

_SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"
_VERSION: Final = re.compile(
    r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+/cryptoKeyVersions/[1-9][0-9]*"
)
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_OK: Final = 200
_SHOWN_CHARACTERS: Final = 300


@dataclass(frozen=True)
class Patience:
    """How long a signature may take, in seconds."""

    call_s: float = 5.0
    """One call, connecting and waiting each."""

    whole_s: float = 15.0
    """All its attempts; no new one begins after it."""

    first_pause_s: float = 0.1


class KmsSigner:
    """Signs with one version of a key in Cloud KMS. Safe for threads; connects at its first use."""

    def __init__(
        self,
        name: str,
        key_version: str,
        *,
        session: requests.Session | None = None,
        endpoint: str = ENDPOINT,
        patience: Patience = Patience(),
    ) -> None:
        """Sign as `name` with `projects/*/locations/*/keyRings/*/cryptoKeys/*/cryptoKeyVersions/*`.

        Without `session` it is one of this process's own credentials, which need `roles/cloudkms.signerVerifier`.

        Raises:
            MalformedKey: that is no key version's name, or no key may have the name.
        """
        if not is_key_name(name):
            raise MalformedKey(f"{name[:80]!r} is no name of a key: no spaces, no plus, at most 255 characters")
        if not _VERSION.fullmatch(key_version):
            raise MalformedKey(f"{key_version[:200]!r} is no version of a key in Cloud KMS: .../cryptoKeyVersions/1")
        self.name = name
        self._key_version = key_version
        self._url = f"{endpoint}/v1/{key_version}"
        self._patience = patience
        self._session = session
        self._lock = threading.Lock()
        self._key: VerifierKey | None = None

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes; asked for once.

        Raises:
            Unavailable: Cloud KMS does not give it, or the key is of another algorithm; the log says which.
        """
        return self._verifier().public

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`, verified.

        Raises:
            Unavailable: Cloud KMS does not sign, or its signature is not the key's; the log says which.
        """
        key = self._verifier()
        answer = self._ask("POST", ":asymmetricSign", {"data": encode_base64(message)})
        signature = decode_base64(str(answer.get("signature", "")))
        if signature is None or not key.verifies(message, signature):
            raise self._refused("answered a signature that its public key does not verify")
        return signature

    def _verifier(self) -> VerifierKey:
        with self._lock:
            if self._key is None:
                self._key = VerifierKey(self.name, KeyKind.NOTE, self._fetched())
            return self._key

    def _fetched(self) -> bytes:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        answer = self._ask("GET", "/publicKey")
        if answer.get("algorithm") != ALGORITHM:
            raise self._refused(f"has a key of algorithm {answer.get('algorithm')!r}, {ALGORITHM} is needed")
        if answer.get("name", self._key_version) != self._key_version:
            raise self._refused(f"answered with another key, {answer['name']!r}")
        try:
            public = load_pem_public_key(str(answer.get("pem", "")).encode())
        except (ValueError, UnsupportedAlgorithm):
            raise self._refused("answered a public key that is no PEM") from None
        if not isinstance(public, Ed25519PublicKey):
            raise self._refused("answered a public key that is not Ed25519")
        return public.public_bytes_raw()

    def _ask(self, method: str, call: str, body: dict[str, str] | None = None) -> dict[str, object]:
        """Return the JSON of a successful answer; repeat what may pass until patience ends."""
        began, pause = time.monotonic(), self._patience.first_pause_s
        while True:
            fault, passing = self._attempt(method, call, body)
            if isinstance(fault, dict):
                return fault
            if not passing:
                raise self._refused(fault)
            if time.monotonic() - began + pause > self._patience.whole_s:
                raise Unavailable(f"Cloud KMS cannot sign at the moment: it {fault}.", retry_after_s=1)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # spreads repetitions, hides nothing
            pause *= 2

    def _attempt(self, method: str, call: str, body: dict[str, str] | None) -> tuple[dict[str, object] | str, bool]:
        """Return the answer, or what went wrong, and whether that may pass."""
        import requests
        from google.auth.exceptions import GoogleAuthError

        try:
            timeout = self._patience.call_s
            reply = self._connected().request(method, self._url + call, json=body, timeout=timeout)
        except requests.RequestException as error:
            return f"cannot be reached ({type(error).__name__})", True
        except GoogleAuthError as error:
            return f"needs credentials that are not there: {error}", bool(error.retryable)
        if reply.status_code != _OK:
            return f"answered {reply.status_code}: {_reason(reply)}", reply.status_code in _TRANSIENT
        try:
            answer = reply.json()
        except ValueError:
            answer = None
        return answer if isinstance(answer, dict) else "answered something that is no JSON object", False

    def _connected(self) -> requests.Session:
        if self._session is None:
            import google.auth
            from google.auth.transport.requests import AuthorizedSession

            credentials, _ = google.auth.default(scopes=[_SCOPE])
            self._session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        return self._session

    def _refused(self, fault: object) -> Unavailable:
        """Return the error for what does not pass by itself; the log tells it to those who can mend it."""
        log(f"Cloud KMS {fault}", level=logging.ERROR, key=self._key_version)
        return Unavailable("The ledger's key cannot be used; the log of this function says why.", retry_after_s=60)


def _reason(reply: requests.Response) -> str:
    """Return the words of an error of Google's APIs (https://google.aip.dev/193)."""
    try:
        error = reply.json()["error"]
        return f"{error['status']}, {error['message']}"[:_SHOWN_CHARACTERS]
    except (ValueError, KeyError, TypeError):
        return reply.text[:_SHOWN_CHARACTERS]
