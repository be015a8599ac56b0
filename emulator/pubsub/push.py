"""Native push: each message is POSTed to the subscription's endpoint, as an envelope or bare.

Source: https://cloud.google.com/pubsub/docs/push and, for bare messages,
https://cloud.google.com/pubsub/docs/payload-unwrapping. How many requests run at once follows the
documented slow start: few at first, one more with every ack, half as many after a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Final

from emulator.delivery.envelope import push_envelope
from emulator.delivery.push import CachedTokens, Outcome, Pusher, PushTarget, Tokens
from emulator.events import Report
from emulator.pubsub.backlog import Appetite, Entry, State
from emulator.pubsub.messages import Published
from emulator.pubsub.protos import Proto
from emulator.pubsub.subscriptions import Subscription
from emulator.refusals import Refusal
from emulator.workers import Workers

MOST_REQUESTS: Final = 128
_FIRST_WINDOW: Final = 4
_MARGIN_SECONDS: Final = 5.0
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METADATA: Final = "x-goog-pubsub-"


class Post:
    """The threads and connections that all push subscriptions of a server share."""

    def __init__(self, mint: Tokens | None, report: Report, *, held: bool = False) -> None:
        """``mint(audience, email)`` makes ID tokens and may block; without it none are sent."""
        self._tokens = CachedTokens(mint) if mint else None
        self._pusher: Pusher | None = None
        self.report = report
        self.held = held
        self._workers = Workers("pubsub-push", MOST_REQUESTS)

    def send(self, target: PushTarget, body: bytes, headers: dict[str, str], settle: Callable[[Outcome], None]) -> None:
        """POST from a thread, then settle on the loop of the caller."""
        loop = asyncio.get_running_loop()
        pusher = self._pusher = self._pusher or Pusher(self._tokens, MOST_REQUESTS)

        def deliver() -> None:
            outcome = _posted(pusher, target, body, headers)
            with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(settle, outcome)

        self._workers.submit(deliver)

    def close(self) -> None:
        """Wait for nothing: what runs ends with its daemon thread."""
        if self._pusher is not None:
            self._pusher.close()


def _posted(pusher: Pusher, target: PushTarget, body: bytes, headers: dict[str, str]) -> Outcome:
    try:
        return pusher.post(target, body, headers)
    except Exception as error:  # noqa: BLE001  whatever ``mint`` raises, the push has failed
        return Outcome(acked=False, status=0, failure=type(error).__name__)


class PushConsumer:
    """Pushes one subscription."""

    def __init__(self, subscription: Subscription, post: Post) -> None:
        """It begins with the next message."""
        self._subscription = subscription
        self._post = post
        self._push: Proto = subscription.config.push_config
        self._target = _target(subscription)
        self._window = float(_FIRST_WINDOW)
        self._running = 0
        self._ended = False

    def serve(self) -> bool:
        """Push as many as the window allows."""
        room = int(self._window) - self._running
        if room <= 0 or self._ended or self._post.held:
            return False
        lease = self._target.ack_deadline_seconds + _MARGIN_SECONDS
        appetite = Appetite(room, 1 << 62, self._subscription.around.clock.now() + lease, one_per_key=True)
        taken = self._subscription.take(appetite, self)
        for entry in taken:
            self._send(entry)
        return bool(taken)

    def released(self, _entry: Entry) -> None:
        """The window counts requests, not leases."""

    def end(self, _refusal: Refusal) -> None:
        """Push nothing more."""
        self._ended = True

    def _send(self, entry: Entry) -> None:
        subscription = self._subscription
        lease = entry.lease
        counted = entry.deliveries if subscription.counts_attempts else None
        body, headers = compose(self._push, subscription.name, entry.message, counted)
        self._running += 1
        subscription.around.usage.delivered("Push", subscription.name, [entry.message])
        self._post.send(self._target, body, headers, lambda outcome: self._settle(entry, lease, outcome))

    def _settle(self, entry: Entry, lease: int, outcome: Outcome) -> None:
        self._running -= 1
        subscription = self._subscription
        current = entry.state is State.LEASED and entry.lease == lease and entry.holder is self
        subscription.tally.push_ended(acked=outcome.acked)
        if outcome.acked:
            self._window = min(self._window + 1, MOST_REQUESTS)
            if current or entry.state is State.WAITING:
                self._done(entry)
        else:
            self._window = max(self._window / 2, 1.0)
            self._post.report(
                "push.failed",
                subscription=subscription.name,
                messageId=entry.message.wire.message_id,
                attempt=entry.deliveries,
                status=outcome.status,
                failure=outcome.failure,
            )
            if current:
                subscription.failed(entry)
        subscription.wake()

    def _done(self, entry: Entry) -> None:
        if self._subscription.backlog.entries.get(entry.message.number) is entry:
            self._subscription.done(entry)


def compose(push: Proto, subscription: str, message: Published, attempt: int | None) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one push; ``attempt`` None means that attempts are not counted."""
    if not push.HasField("no_wrapper"):
        return push_envelope(message.plain(), subscription, attempt), {"Content-Type": "application/json"}
    wire = message.wire
    if not push.no_wrapper.write_metadata:
        return wire.data, {}
    headers = {key: value for key, value in wire.attributes.items() if _is_header(key, value)}
    headers[f"{_METADATA}subscription-name"] = subscription
    headers[f"{_METADATA}message-id"] = wire.message_id
    headers[f"{_METADATA}publish-time"] = wire.publish_time.ToJsonString()
    if wire.ordering_key and wire.ordering_key.isascii():
        headers[f"{_METADATA}ordering-key"] = wire.ordering_key
    if attempt is not None:
        headers[f"{_METADATA}delivery-attempt"] = str(attempt)
    return wire.data, headers


def _is_header(key: str, value: str) -> bool:
    return bool(_HEADER_NAME.fullmatch(key)) and value.isascii() and value.isprintable()


def _target(subscription: Subscription) -> PushTarget:
    config = subscription.config
    push = config.push_config
    return PushTarget(
        subscription=config.name,
        endpoint=push.push_endpoint,
        audience=push.oidc_token.audience or push.push_endpoint,
        service_account=push.oidc_token.service_account_email,
        ack_deadline_seconds=config.ack_deadline_seconds,
        counts_attempts=subscription.counts_attempts,
    )
