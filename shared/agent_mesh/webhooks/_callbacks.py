"""Callbacks as a role offers them: off until there is a secret to sign with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

from agent_mesh.contracts.problems import FieldFault, InvalidRequest
from agent_mesh.platform.clock import Clock
from agent_mesh.webhooks._sender import Delivery, WebhookSender
from agent_mesh.webhooks._target import parse_target


class Callbacks:
    """Checks callback URLs when they are given and calls them when there is something to tell."""

    def __init__(self, secrets: Sequence[str], allowed_hosts: Collection[str], clock: Clock) -> None:
        """`secrets` may be empty: then every callback URL is refused."""
        self._secrets = secrets
        self._allowed_hosts = allowed_hosts
        self._clock = clock

    def check(self, url: str | None) -> None:
        """Raise `InvalidRequest` naming `callbackUrl` if it may not be called."""
        if url is None:
            return
        if not self._secrets:
            fault = FieldFault(
                field="callbackUrl", message="this deployment has no WEBHOOK_SECRETS to sign callbacks with"
            )
            detail = f"callbackUrl: {fault.message}; leave it out and read the task instead."
            raise InvalidRequest(detail, errors=[fault])
        parse_target(url, self._allowed_hosts)

    def send(
        self, url: str, message_id: str, event_type: str, payload_json: str, *, occurred_at: float | None = None
    ) -> Delivery:
        """Make one attempt to deliver what happened at `occurred_at` (Unix seconds; default: now)."""
        return self._sender.send(url, message_id, event_type, payload_json, occurred_at=occurred_at)

    @cached_property
    def _sender(self) -> WebhookSender:
        return WebhookSender(self._secrets, self._allowed_hosts, clock=self._clock)
