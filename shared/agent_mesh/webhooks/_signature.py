"""The signature of a callback, by the Standard Webhooks specification: symmetric, `v1`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: HMAC-SHA256 over
`{webhook-id}.{webhook-timestamp}.{body}`. During a rotation the header has one signature of each secret, newest first.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets as randomness
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of secrets, not one
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
TOLERANCE_S = 300.0

_VERSION = "v1"
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_:~-]{1,256}")  # no full stop: it separates what is signed
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_LONGEST_HEADER = 4096


class SecretError(ValueError):
    """A signing secret cannot be used, or there is none."""


class SignatureError(Exception):
    """A received webhook is not signed by one of our secrets, or is too old: do not act on it."""


@dataclass(frozen=True)
class WebhookSecret:
    """A symmetric signing key; its `repr` does not show it."""

    key: bytes = field(repr=False)


def new_secret() -> str:
    """Return a fresh random secret, `whsec_` and 32 bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(randomness.token_bytes(32)).decode("ascii")


def parse_secrets(texts: Sequence[str]) -> tuple[WebhookSecret, ...]:
    """Return the secrets in the same order.

    Raises:
        SecretError: there is none, or one is not `whsec_` and 24 to 64 bytes in base64.
    """
    if isinstance(texts, str) or not texts:
        raise SecretError("no webhook secret is configured: callbacks are never sent unsigned, set WEBHOOK_SECRETS")
    return tuple(_parsed(text) for text in texts)


def signature_headers(message_id: str, sent_at: float, body: bytes, secrets: Sequence[WebhookSecret]) -> dict[str, str]:
    """Return the three headers of a message sent at `sent_at` (Unix seconds); a repetition keeps its `message_id`.

    Raises:
        ValueError: the message id has characters that could change what is signed or how headers are read.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError(f"message id {message_id!r}: use 1 to 256 of the characters A-Z a-z 0-9 _ : ~ -")
    timestamp = str(int(sent_at))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(message_id, timestamp, body, secret) for secret in secrets),
    }


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> None:
    """Check a received webhook: signed by one of `secrets`, and within 5 minutes of `now` (Unix seconds).

    A repeated message has the same `webhook-id`: whoever must not act twice remembers the ids of the last 5 minutes.

    Raises:
        SignatureError: a header is missing or malformed, the message too old or too new, or no signature fits.
        SecretError: `secrets` is empty or has an unusable one.
    """
    keys = parse_secrets(secrets)
    by_name = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = by_name.get("webhook-id", ""), by_name.get("webhook-timestamp", "")
    received = by_name.get("webhook-signature", "")
    if not message_id or not _TIMESTAMP.fullmatch(timestamp) or not 0 < len(received) <= _LONGEST_HEADER:
        raise SignatureError("webhook-id, webhook-timestamp or webhook-signature is missing or malformed")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise SignatureError(
            f"webhook-timestamp {timestamp} is more than {TOLERANCE_S:.0f} s from now; check the clock"
        )
    expected = [_signature(message_id, timestamp, body, key).encode() for key in keys]
    given = [signature.encode("utf-8", "replace") for signature in received.split(" ")]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in given):
        raise SignatureError("no signature in webhook-signature fits; check the secret and sign the raw body")


def _parsed(text: str) -> WebhookSecret:
    if not text.startswith(SECRET_PREFIX):
        raise SecretError(f"a webhook secret does not begin with {SECRET_PREFIX}")
    encoded = text.removeprefix(SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError(f"what follows {SECRET_PREFIX} in a webhook secret is not base64") from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise SecretError(f"a webhook secret has {len(key)} bytes, expected {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}")
    return WebhookSecret(key)


def _signature(message_id: str, timestamp: str, body: bytes, secret: WebhookSecret) -> str:
    signed = f"{message_id}.{timestamp}.".encode("utf-8", "replace") + body
    digest = hmac.new(secret.key, signed, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode('ascii')}"
