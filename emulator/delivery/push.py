"""One push: POST an envelope with the subscription's ID token, and say whether it was acked.

Source: https://cloud.google.com/pubsub/docs/push: a message is acked by 102, 200, 201, 202 or
204; anything else, and no answer within the ack deadline, is a nack.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from emulator.delivery.envelope import push_envelope
from emulator.delivery.messages import Message
from emulator.errors import EmulatorError

ACK_CODES: Final = frozenset(
    {
        HTTPStatus.PROCESSING,
        HTTPStatus.OK,
        HTTPStatus.CREATED,
        HTTPStatus.ACCEPTED,
        HTTPStatus.NO_CONTENT,
    }
)
_RENEW_BEFORE_SECONDS: Final = 300.0
_CONNECT_SECONDS: Final = 2.0

Tokens = Callable[[str, str], str]
"""Mints an ID token: audience, service account email -> token."""


@dataclass(frozen=True, slots=True)
class PushTarget:
    """Where and as whom a subscription delivers. ``subscription`` is the full name."""

    subscription: str
    endpoint: str
    audience: str
    service_account: str
    ack_deadline_seconds: float
    counts_attempts: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the endpoint said: the HTTP status, or 0 and the name of the failure."""

    acked: bool
    status: int
    failure: str = ""


class CachedTokens:
    """Keeps each token until shortly before it expires, as Pub/Sub does."""

    def __init__(self, mint: Tokens, clock: Callable[[], float] = time.time) -> None:
        """``mint`` is asked once per audience and account and lifetime."""
        self._mint = mint
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[str, float]] = {}

    def __call__(self, audience: str, email: str) -> str:
        """A token that is valid for some minutes more."""
        with self._lock:
            token, expires = self._kept.get((audience, email), ("", 0.0))
            if expires - self._clock() <= _RENEW_BEFORE_SECONDS:
                token = self._mint(audience, email)
                self._kept[audience, email] = (token, _expiry(token))
            return token


def _expiry(token: str) -> float:
    claims = token.split(".")[1]
    padded = claims + "=" * (-len(claims) % 4)
    return float(json.loads(base64.urlsafe_b64decode(padded))["exp"])


class Pusher:
    """Delivers to HTTP endpoints over kept-alive connections; safe from many threads."""

    def __init__(self, tokens: Tokens | None, connections: int = 64) -> None:
        """Without ``tokens`` it sends no Authorization header."""
        # urllib3 is a quarter of the start of a server, which without push subscriptions never needs it
        from emulator.delivery.connections import pooled

        self._tokens = tokens
        self._http = pooled(connections)

    def push(self, target: PushTarget, message: Message, attempt: int) -> Outcome:
        """Deliver once. Never raises: what went wrong is in the outcome."""
        body = push_envelope(message, target.subscription, attempt if target.counts_attempts else None)
        return self.post(target, body, {"Content-Type": "application/json"})

    def post(self, target: PushTarget, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send any body, with Google's headers added. Never raises; a target without account gets no token."""
        import urllib3

        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=target.ack_deadline_seconds)
        try:
            response = self._http.request(
                "POST",
                target.endpoint,
                body=body,
                headers={**headers, **self._headers(target)},
                timeout=timeout,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, EmulatorError) as error:
            return Outcome(acked=False, status=0, failure=type(error).__name__)
        return Outcome(response.status in ACK_CODES, response.status)

    def close(self) -> None:
        """Close idle connections."""
        self._http.clear()

    def _headers(self, target: PushTarget) -> dict[str, str]:
        headers = {
            "User-Agent": "CloudPubSub-Google",
            "From": "noreply@google.com",
        }
        if self._tokens is not None and target.service_account:
            headers["Authorization"] = f"Bearer {self._tokens(target.audience, target.service_account)}"
        return headers


def base_uri(url: str) -> str:
    """Scheme, host and port of a URL: the audience of the function behind it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
