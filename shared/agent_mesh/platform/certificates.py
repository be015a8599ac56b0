"""Google's signing certificates, kept in memory: the verifier of ID tokens asks here for the one with the token's key.

The document is JSON, `{"<key id>": "<PEM of an X.509 certificate>"}`, as https://www.googleapis.com/oauth2/v1/certs
answers it. JWKS documents are refused: google-auth verifies those through another path, which ignores clock skew.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from math import inf
from urllib.parse import urlsplit

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.clock import Clock, SystemClock

GOOGLE_CERTIFICATES_URL = "https://www.googleapis.com/oauth2/v1/certs"

MAX_DOCUMENT_BYTES = 256 * 1024  # Google's is about 5 KB
MIN_FRESH_S = 60.0
MAX_FRESH_S = 12 * 3600.0  # a key that Google withdraws is refused after this time at the latest
DEFAULT_FRESH_S = 3600.0
STALE_IF_ERROR_S = 24 * 3600.0  # RFC 5861 section 4: how long past its freshness a copy may serve while Google is away
UNKNOWN_KEY_PAUSE_S = 60.0
FAILURE_PAUSE_S = 5.0
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 5.0

_PEM_PREFIX = "-----BEGIN CERTIFICATE-----"

_log = logging.getLogger("agent_mesh.oidc")


class CertificatesError(Exception):
    """The certificate document cannot be fetched, or is not one. A `fetch` raises this and nothing else."""


class CertificatesUrlError(ValueError):
    """Plain HTTP to another machine: whoever stands on the way could sign every ID token."""


@dataclass(frozen=True)
class CertificateDocument:
    """What the endpoint answered: the bytes, and for how many seconds from now they are fresh."""

    body: bytes
    fresh_for_s: float = DEFAULT_FRESH_S


Fetch = Callable[[str], CertificateDocument]


@dataclass(frozen=True)
class _Copy:
    """One parsed document; the times are Unix seconds."""

    certificates: Mapping[str, str]
    fresh_until: float
    usable_until: float


class CertificateStore:
    """Certificates by key id, fetched by one thread at a time and only when needed. Safe for threads.

    A fresh copy answers without any lock. While a stale copy is refreshed, the other threads go on with it.
    """

    def __init__(
        self, url: str = GOOGLE_CERTIFICATES_URL, *, fetch: Fetch | None = None, clock: Clock | None = None
    ) -> None:
        """Fetch nothing yet.

        Raises:
            CertificatesUrlError: `url` is neither https nor on this machine.
        """
        if not _is_trustworthy(url):
            raise CertificatesUrlError(f"{url!r}: fetch certificates over https, or over http from this machine")
        self._url = url
        self._fetch = fetch or fetch_certificates
        self._clock = clock or SystemClock()
        self._copy: _Copy | None = None
        self._flight = threading.Lock()
        self._failed_until = -inf
        self._unknown_key_refused_until = -inf

    def certificate(self, key_id: str) -> str | None:
        """Return the PEM certificate with this key id, None when Google publishes no such key.

        Raises:
            Unavailable: there is no usable copy and none can be fetched.
        """
        copy = self._current()
        if key_id not in copy.certificates:
            copy = self._refetched_for_unknown_key(copy)
        return copy.certificates.get(key_id)

    def _current(self) -> _Copy:
        copy = self._copy
        if copy is not None and self._clock.now() < copy.fresh_until:
            return copy
        if copy is not None and self._clock.now() < copy.usable_until:
            return self._refreshed_unless_underway(copy)
        with self._flight:
            if self._copy is copy:
                self._refresh()
            if self._copy is None or self._clock.now() >= self._copy.usable_until:
                raise Unavailable(
                    "The certificates that verify ID tokens cannot be fetched at the moment; try again.",
                    retry_after_s=round(FAILURE_PAUSE_S),
                )
            return self._copy

    def _refreshed_unless_underway(self, copy: _Copy) -> _Copy:
        if not self._flight.acquire(blocking=False):
            return copy
        try:
            if self._copy is copy:
                self._refresh()
            return self._copy or copy
        finally:
            self._flight.release()

    def _refetched_for_unknown_key(self, copy: _Copy) -> _Copy:
        """Google may have begun to sign with a new key; whoever invents key ids gets one fetch a minute out of us."""
        with self._flight:
            if self._copy is copy and self._clock.now() >= self._unknown_key_refused_until:
                self._unknown_key_refused_until = self._clock.now() + UNKNOWN_KEY_PAUSE_S
                self._refresh()
            return self._copy or copy

    def _refresh(self) -> None:
        """Replace the copy, or leave it and pause after a failure; the caller holds the flight lock."""
        if self._clock.now() < self._failed_until:
            return
        try:
            document = self._fetch(self._url)
            certificates = parse_certificates(document.body)
        except CertificatesError as error:
            self._failed_until = self._clock.now() + FAILURE_PAUSE_S
            _log.warning("certificates not refreshed", extra={"fields": {"url": self._url, "reason": str(error)}})
            return
        fresh_until = self._clock.now() + min(max(document.fresh_for_s, MIN_FRESH_S), MAX_FRESH_S)
        self._copy = _Copy(certificates, fresh_until, fresh_until + STALE_IF_ERROR_S)


def parse_certificates(body: bytes) -> Mapping[str, str]:
    """Return the PEM certificates by key id.

    Raises:
        CertificatesError: not a non-empty JSON object of PEM certificates.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CertificatesError(f"the document is not JSON ({type(error).__name__})") from None
    if not isinstance(document, dict) or not document:
        raise CertificatesError("the document is not a JSON object of certificates by key id")
    if not all(isinstance(pem, str) and pem.startswith(_PEM_PREFIX) for pem in document.values()):
        raise CertificatesError("the document holds something else than PEM certificates (a JWKS URL?)")
    return document


def freshness_s(cache_control: str, age: str) -> float:
    """Return for how many seconds a response stays fresh: `max-age` less `Age` (RFC 9111 sections 4.2.1 and 4.2.3)."""
    max_age = re.search(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})", cache_control, re.IGNORECASE)
    if max_age is None:
        return DEFAULT_FRESH_S
    spent = float(age) if re.fullmatch(r"[0-9]{1,9}", age.strip()) else 0.0
    return max(float(max_age[1]) - spent, 0.0)


def fetch_certificates(url: str) -> CertificateDocument:
    """Fetch the document once: no redirects, no proxy, no retries, at most `MAX_DOCUMENT_BYTES`.

    Raises:
        CertificatesError: no answer in time, another status than 200, or too large a body.
    """
    import urllib3  # 56 ms of CPU at import; needed only once something must be verified

    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
    with urllib3.PoolManager(num_pools=1, retries=False, timeout=timeout) as pools:
        try:
            response = pools.request("GET", url, redirect=False, preload_content=False)
            body = response.read(MAX_DOCUMENT_BYTES + 1)
            response.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise CertificatesError(f"{type(error).__name__}: {error}") from None
    if response.status != 200:  # noqa: PLR2004 - the status code is its own name
        raise CertificatesError(f"status {response.status}, expected 200")
    if len(body) > MAX_DOCUMENT_BYTES:
        raise CertificatesError(f"the document is larger than {MAX_DOCUMENT_BYTES} bytes")
    return CertificateDocument(
        body, freshness_s(response.headers.get("Cache-Control", ""), response.headers.get("Age", ""))
    )


def _is_trustworthy(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(parts.hostname or ""))


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
