"""The one verifier of Google ID tokens: who is calling, and may that caller come in.

google-auth's own `verify_oauth2_token` is not enough here: it fetches the certificates for every call, checks neither
`email`, `email_verified` nor the lifetime, and lets an attacker choose the exception. From google-auth we
take the signature; every claim is checked below.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from agent_mesh.contracts.problems import Forbidden, Unauthenticated
from agent_mesh.platform.certificates import CertificateStore
from agent_mesh.platform.clock import Clock, SystemClock

GOOGLE_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
MAX_TOKEN_BYTES = 4096
MAX_LIFETIME_S = 3700  # Google's ID tokens live 3600 s
CLOCK_SKEW_S = 10
REMOVED_SIGNATURE = "SIGNATURE_REMOVED_BY_GOOGLE"
REFUSAL = "The request needs an Authorization header with a valid Google ID token for this service."
SIGN_IN_REFUSAL = "The ID token of this sign-in does not verify; sign in again."

# RFC 9110 section 11.4: the scheme in any case, one or more spaces; RFC 7515 section 7.1: three base64url segments.
_BEARER = re.compile(r"(?i:bearer) +(?P<token>(?P<header>[\w-]+)\.[\w-]+\.(?P<signature>[\w-]+))", re.ASCII)
_LONGEST_QUOTE = 120
_LATEST_MOMENT = 1 << 53  # seconds; beyond it a float no longer counts single seconds
_NO_LIMIT_S = 1 << 60
_REMEMBERED_TOKENS = 256  # of at most 4 KB each; the signature is a fifth of what the mesh adds to a call

_log = logging.getLogger("agent_mesh.oidc")


@dataclass(frozen=True)
class Identity:
    """Who is calling, by a verified token: the `email` and `sub` claims."""

    email: str
    subject: str


class _RefusedError(Exception):
    """Why a token is refused: for our log, never for the caller."""


class TokenVerifier:
    """Verifies the `Authorization` header of a request; one per process, safe for threads."""

    def __init__(
        self,
        certificates: CertificateStore,
        *,
        issuers: Collection[str] = GOOGLE_ISSUERS,
        accept_removed_signature: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Trust tokens of `issuers` signed by one of `certificates`.

        `accept_removed_signature` is for a Cloud Run service that only callers checked by IAM reach: the front end has
        verified the token and replaced its signature. Anywhere else it lets everybody in.
        """
        self._certificates = certificates
        self._issuers = _several(issuers)
        self._accept_removed_signature = accept_removed_signature
        self._clock = clock or SystemClock()

    def verify(self, authorization_header: str | None, audiences: Collection[str]) -> Identity:
        """Return the caller whose token was issued for one of `audiences`. An empty `audiences` refuses everybody.

        Raises:
            Unauthenticated: for every fault of the token, with one and the same detail; the log has the reason.
            Unavailable: the certificates are not there and cannot be fetched.
        """
        try:
            allowed = _several(audiences)
            claims = self._claims(authorization_header, allowed, removed_signature=self._accept_removed_signature)
            return _proven_identity(claims, allowed, self._issuers, self._clock.now())
        except _RefusedError as refusal:
            reason = str(refusal)
        _log.info("ID token refused", extra={"fields": {"reason": reason}})
        # Raised outside the handler, so that no traceback carries the token along as context.
        raise Unauthenticated(REFUSAL)

    def verify_sign_in(self, token: str, client_id: str, nonce: str) -> Identity:
        """Return who has signed in: the token of a code that was exchanged by `client_id`, asked for with `nonce`.

        The signature is always checked: no front end has seen this token.

        Raises:
            Unauthenticated: for every fault of the token, with one and the same detail; the log has the reason.
            Unavailable: the certificates are not there and cannot be fetched.
        """
        try:
            client = frozenset({client_id} - {""})
            claims = self._claims(f"Bearer {token}", client, removed_signature=False)
            _check_nonce(claims.get("nonce"), nonce)
            return _proven_identity(claims, client, self._issuers, self._clock.now())
        except _RefusedError as refusal:
            reason = str(refusal)
        _log.info("ID token of a sign-in refused", extra={"fields": {"reason": reason}})
        raise Unauthenticated(SIGN_IN_REFUSAL)

    def _claims(
        self, authorization_header: str | None, audiences: frozenset[str], *, removed_signature: bool
    ) -> Mapping[str, object]:
        if not audiences:
            raise _RefusedError("this endpoint has no audience configured, so no token can be meant for it")
        token, header, signature = _bearer(authorization_header)
        key_id = _key_id(header)
        if removed_signature and signature == REMOVED_SIGNATURE:
            return _decoded(token, None)
        certificate = self._certificates.certificate(key_id)
        if certificate is None:
            raise _RefusedError(f"no certificate has the key id {_quoted(key_id)}")
        return _signed_claims(token, key_id, certificate)


def authorize(identity: Identity, allowed: Collection[str]) -> None:
    """Let the identity pass when its email is one of `allowed`; an empty `allowed` is nobody.

    Raises:
        Forbidden: the email is not in the list.
    """
    if _same_case(identity.email) not in {_same_case(email) for email in _several(allowed)}:
        raise Forbidden(f"{identity.email} may not call this endpoint; ask its owner to add it to the allowed callers.")


def _several(values: Collection[str]) -> frozenset[str]:
    """One bare string is a collection of its letters: take it for the misconfiguration it is, and trust nobody."""
    return frozenset() if isinstance(values, str) else frozenset(values)


def _same_case(email: str) -> str:
    """Lower-case ASCII only: Unicode has letters whose lower case is an ASCII one (the Kelvin sign becomes `k`)."""
    return email.lower() if email.isascii() else email


def _bearer(authorization_header: str | None) -> tuple[str, str, str]:
    """Return the token, its header segment and its signature segment."""
    if not authorization_header:
        raise _RefusedError("there is no Authorization header")
    credentials = _BEARER.fullmatch(authorization_header)
    if credentials is None:
        raise _RefusedError("the header is not 'Bearer' and a signed JWT")
    if len(credentials["token"]) > MAX_TOKEN_BYTES:
        raise _RefusedError(f"the token is larger than {MAX_TOKEN_BYTES} bytes")
    return credentials["token"], credentials["header"], credentials["signature"]


def _key_id(segment: str) -> str:
    """Return the id of the key that the JOSE header names (RFC 7515 section 4.1)."""
    try:
        header = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError) as error:
        raise _RefusedError(f"the JOSE header is not JSON ({type(error).__name__})") from None
    if not isinstance(header, dict):
        raise _RefusedError("the JOSE header is not an object")
    if header.get("alg") != "RS256":
        raise _RefusedError(f"the algorithm is {_quoted(header.get('alg'))}, only RS256 is accepted")
    if "crit" in header:
        raise _RefusedError("the JOSE header has critical extensions, none is understood (RFC 7515 section 4.1.11)")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise _RefusedError("the JOSE header names no key")
    return key_id


@lru_cache(maxsize=_REMEMBERED_TOKENS)
def _signed_claims(token: str, key_id: str, certificate: str) -> Mapping[str, object]:
    """Return what this certificate's key has signed.

    A caller sends the same token for up to an hour, and its signature does not change: only what may change, the times
    and who may come in, is checked every time. A refusal raises and is never remembered.
    """
    return _decoded(token, {key_id: certificate})


def _decoded(token: str, certificates: Mapping[str, str] | None) -> Mapping[str, object]:
    """Return the claims, with the signature checked by `certificates`; None leaves it unchecked."""
    from google.auth import jwt  # 78 ms of CPU at import; needed only once something must be verified

    try:
        if certificates is None:
            claims = jwt.decode(token, verify=False)  # type: ignore[no-untyped-call]
        else:
            # Its own check of iat and exp knows only the system clock: ours is in _proven_identity.
            claims = jwt.decode(token, certs=certificates, clock_skew_in_seconds=_NO_LIMIT_S)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - the sender chose these bytes; whatever they provoke is no 500 of ours
        # Messages of google-auth quote the token: only the kind of error is fit for a log.
        raise _RefusedError(f"the token does not decode or its signature is wrong ({type(error).__name__})") from None
    if not isinstance(claims, Mapping):
        raise _RefusedError("the claims are not an object")
    return claims


def _proven_identity(
    claims: Mapping[str, object], audiences: Collection[str], issuers: Collection[str], now: float
) -> Identity:
    """Return the identity that these signed claims prove at `now` (Unix seconds); refuse what they do not."""
    _check_times(claims, now)
    if not _is_one_of(claims.get("iss"), issuers):
        raise _RefusedError(f"iss is {_quoted(claims.get('iss'))}, expected one of {sorted(issuers)}")
    if not _is_one_of(claims.get("aud"), audiences):
        raise _RefusedError(f"aud is {_quoted(claims.get('aud'))}, expected one of {sorted(audiences)}")
    if claims.get("email_verified") is not True:
        raise _RefusedError(f"email_verified is {_quoted(claims.get('email_verified'))}, expected true")
    return Identity(email=_text(claims, "email"), subject=_text(claims, "sub"))


def _check_nonce(value: object, expected: str) -> None:
    """Refuse a token that was not made for this sign-in (OpenID Connect Core 1.0 section 3.1.3.7)."""
    if not expected or value != expected:
        raise _RefusedError("the nonce is not the one that was sent")


def _check_times(claims: Mapping[str, object], now: float) -> None:
    """Refuse what is expired, not yet valid or valid for too long (RFC 7519 sections 4.1.4 to 4.1.6)."""
    issued, expires = _moment(claims, "iat"), _moment(claims, "exp")
    begins = _moment(claims, "nbf") if "nbf" in claims else issued
    if max(issued, begins) > now + CLOCK_SKEW_S:
        raise _RefusedError(f"valid only from {max(issued, begins):.0f} on, it is {now:.0f}")
    if expires <= now - CLOCK_SKEW_S:
        raise _RefusedError(f"expired at {expires:.0f}, it is {now:.0f}")
    if not 0 < expires - issued <= MAX_LIFETIME_S:
        raise _RefusedError(f"lives {expires - issued:.0f} s, at most {MAX_LIFETIME_S} s are accepted")


def _moment(claims: Mapping[str, object], name: str) -> float:
    """Return a NumericDate in Unix seconds. Python's JSON has NaN, Infinity and integers that no float holds."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST_MOMENT:
        raise _RefusedError(f"{name} is {_quoted(value)}, expected Unix seconds")
    return float(value)


def _is_one_of(value: object, expected: Collection[str]) -> bool:
    return isinstance(value, str) and value != "" and value in expected


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():  # a lone surrogate breaks the answer's UTF-8
        raise _RefusedError(f"{name} is {_quoted(value)}, expected non-empty text")
    return value


def _quoted(value: object) -> str:
    """Return a claim for the log: escaped and short; a container or an endless integer is only named."""
    if not isinstance(value, str | float | bool | None):
        return type(value).__name__
    return ascii(value)[:_LONGEST_QUOTE]
