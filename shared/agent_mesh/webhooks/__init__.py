"""Result callbacks: who may be called, how a call is signed, sent and repeated. Receivers check one with `verify`."""

from __future__ import annotations

from agent_mesh.webhooks._address import is_public
from agent_mesh.webhooks._backoff import next_attempt_at
from agent_mesh.webhooks._callbacks import Callbacks
from agent_mesh.webhooks._sender import Delivery, DeliveryStatus, WebhookSender
from agent_mesh.webhooks._signature import SecretError, SignatureError, new_secret, signature_headers, verify
from agent_mesh.webhooks._target import CallbackTarget, Resolver, parse_target, resolve

__all__ = [
    "CallbackTarget",
    "Callbacks",
    "Delivery",
    "DeliveryStatus",
    "Resolver",
    "SecretError",
    "SignatureError",
    "WebhookSender",
    "is_public",
    "new_secret",
    "next_attempt_at",
    "parse_target",
    "resolve",
    "signature_headers",
    "verify",
]
