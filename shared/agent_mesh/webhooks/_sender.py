"""Sends a result to the callback URL of its task: one attempt, whose outcome says whether to try again."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from http import HTTPStatus

from pydantic_core import from_json

from agent_mesh.contracts.problems import InvalidRequest, Unavailable
from agent_mesh.platform.clock import Clock, SystemClock, moment, rfc3339
from agent_mesh.webhooks._exchange import ExchangeError, post
from agent_mesh.webhooks._signature import parse_secrets, signature_headers
from agent_mesh.webhooks._target import Resolver, parse_target, resolve

USER_AGENT = "agent-mesh-webhooks/1"


class DeliveryStatus(StrEnum):
    """What an attempt came to. Only `RETRY` is worth another one."""

    DELIVERED = "delivered"
    GONE = "gone"
    REFUSED = "refused"
    RETRY = "retry"


@dataclass(frozen=True)
class Delivery:
    """One attempt: its outcome, its duration in seconds, the receiver's HTTP status if one came, and why it failed."""

    status: DeliveryStatus
    latency_s: float
    http_status: int | None = None
    reason: str = ""


class WebhookSender:
    """Calls callback URLs; one per process, safe for threads. It holds no ID token, so it cannot give one away."""

    def __init__(
        self,
        secrets: Sequence[str],
        allowed_hosts: Collection[str] = (),
        *,
        resolver: Resolver = socket.getaddrinfo,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Sign with every one of `secrets` (`whsec_...`, the newest first).

        `allowed_hosts` (host or host:port) may be private and plain HTTP: for development. `tls` replaces the system's
        trusted certificates.

        Raises:
            SecretError: there is no secret or an unusable one.
        """
        self._secrets = parse_secrets(secrets)
        self._allowed_hosts = allowed_hosts
        self._resolver = resolver
        self._clock = clock or SystemClock()
        self._given_tls = tls

    def send(
        self, url: str, message_id: str, event_type: str, payload_json: str, *, occurred_at: float | None = None
    ) -> Delivery:
        """Make one attempt; give every attempt of a message the same `message_id` and `occurred_at` (Unix seconds).

        Raises:
            ValueError: the message id or the payload is not what the signature and the body can carry.
        """
        sent_at = self._clock.now()
        body = event_body(event_type, sent_at if occurred_at is None else occurred_at, payload_json)
        signature = signature_headers(message_id, sent_at, body, self._secrets)
        started = time.monotonic()
        status, http_status, reason = self._attempt(url, signature, body)
        return Delivery(status, time.monotonic() - started, http_status, reason)

    def _attempt(self, url: str, signature: dict[str, str], body: bytes) -> tuple[DeliveryStatus, int | None, str]:
        try:
            target = parse_target(url, self._allowed_hosts)
            address = resolve(target, self._resolver)
            headers = {
                "host": target.host_header,
                "content-type": "application/json",
                "user-agent": USER_AGENT,
                "accept-encoding": "identity",
                "connection": "close",
                **signature,
            }
            http_status = post(target, address, headers, body, self._tls)
        except InvalidRequest as error:
            return DeliveryStatus.REFUSED, None, error.detail
        except Unavailable as error:
            return DeliveryStatus.RETRY, None, error.detail
        except ExchangeError as error:
            return DeliveryStatus.RETRY, None, str(error)
        status = status_of(http_status)
        return status, http_status, "" if status is DeliveryStatus.DELIVERED else f"the receiver answered {http_status}"

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or ssl.create_default_context()


def status_of(http_status: int) -> DeliveryStatus:
    """Return what an answer means: 2xx delivered, 410 never again (Standard Webhooks), anything else a failure.

    A redirect is a failure too: following it would carry the payload to a host that nobody checked.
    """
    if 200 <= http_status < 300:  # noqa: PLR2004 - the class of status codes is its own name
        return DeliveryStatus.DELIVERED
    return DeliveryStatus.GONE if http_status == HTTPStatus.GONE else DeliveryStatus.RETRY


def event_body(event_type: str, occurred_at: float, payload_json: str) -> bytes:
    """Return the body by Standard Webhooks; the payload goes in as it is, so that its numbers keep their digits.

    Raises:
        ValueError: `payload_json` is not a JSON object.
    """
    from_json(payload_json, allow_inf_nan=False)
    if not payload_json.lstrip().startswith("{"):
        raise ValueError("the payload of a webhook is a JSON object")
    head = json.dumps({"type": event_type, "timestamp": rfc3339(moment(occurred_at))})
    return f'{head[:-1]}, "data": {payload_json}}}'.encode()
