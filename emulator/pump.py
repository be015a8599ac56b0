"""Moves the messages of one subscription from Pub/Sub to its push endpoint."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from emulator.delivery.dead_letter import dead_letter_attributes
from emulator.delivery.filters import parse_filter
from emulator.delivery.messages import Lease, Message
from emulator.delivery.outstanding import Delivery, Outstanding
from emulator.delivery.push import Outcome, PushTarget
from emulator.delivery.tally import Tally
from emulator.events import log_event
from emulator.provision import LEASE_SECONDS
from emulator.pubsub_wire import CloudError, PubSubWire
from emulator.routes import Route
from emulator.workers import Workers

_MOST_LEASED: Final = 1000
_BATCH: Final = 200
_FULL_SECONDS: Final = 0.02
_REFUSED_SECONDS: Final = 0.5
_QUICKEST_SECONDS: Final = 0.001
_SLOWEST_SECONDS: Final = 0.04


class Pushes(Protocol):
    """Delivers one message; :class:`emulator.delivery.push.Pusher` does."""

    def push(self, target: PushTarget, message: Message, attempt: int) -> Outcome:
        """Deliver once, without raising."""
        ...


def pull_pause(quiet: float) -> float:
    """Seconds to the next poll of a subscription that has been quiet for so many seconds.

    The official emulator answers a blocking pull up to 50 ms after the publish, a non-blocking
    one at once; and a blocking pull that is cancelled still takes messages, which then wait for
    the end of their lease. So it is polled, the more slowly the longer it is quiet.
    """
    return min(max(_QUICKEST_SECONDS, quiet / 16), _SLOWEST_SECONDS)


class Pump:
    """One subscription's puller and pushers."""

    def __init__(self, route: Route, wire: PubSubWire, pushes: Pushes, ack: Callable[[str, str], None]) -> None:
        """``ack(subscription, ack_id)`` acknowledges soon, without blocking."""
        self.route = route
        self.tally = Tally()
        self.rescheduled = threading.Event()
        self._subscription = route.target.subscription
        self._wire = wire
        self._pushes = pushes
        self._ack = ack
        self._matches = parse_filter(route.filter)
        self._lock = threading.Lock()
        self._outstanding = Outstanding(route.policy)
        self._workers = Workers(route.name, route.policy.concurrency)
        self._stopping = threading.Event()
        self._puller = threading.Thread(target=self._pull_until_stopped, name=f"pull-{route.name}", daemon=True)

    def start(self) -> None:
        """Begin to pull."""
        self._puller.start()

    def dispatch(self) -> float | None:
        """Deliver what is due; returns when (monotonic seconds) the next delivery is due."""
        now = time.monotonic()
        with self._lock:
            ready = [] if self._stopping.is_set() else self._outstanding.take_ready(now)
            due = self._outstanding.next_due()
        for delivery in ready:
            self._workers.submit(partial(self._deliver, delivery))
        return due

    def extend_leases(self) -> None:
        """Keep everything that is waiting or in flight."""
        self._modify_leases(LEASE_SECONDS)

    def stop_pulling(self) -> None:
        """Start nothing new."""
        self._stopping.set()

    def wait_for_pull(self) -> None:
        """Return when the last pull has ended, so that :meth:`give_back` knows every lease."""
        if self._puller.is_alive():
            self._puller.join()

    def idle(self) -> bool:
        """Whether no delivery is running."""
        with self._lock:
            return self._outstanding.in_flight == 0

    def give_back(self) -> None:
        """Return every lease, so that the next bridge gets the messages at once."""
        self._modify_leases(0)

    def state(self) -> dict[str, int]:
        """Counts for people and tests."""
        with self._lock:
            return self.tally.report(len(self._outstanding), self._outstanding.in_flight)

    def _pull_until_stopped(self) -> None:
        last = float("-inf")
        while not self._stopping.is_set():
            room = _MOST_LEASED - self.state()["leased"]
            if room <= 0:
                self._stopping.wait(_FULL_SECONDS)
                continue
            try:
                leases = self._wire.pull(self._subscription, min(room, _BATCH))
            except CloudError as error:
                self._report_refusal("pull.failed", error)
                continue
            if leases:
                last = time.monotonic()
                self._take(leases)
            else:
                self._stopping.wait(pull_pause(time.monotonic() - last))

    def _take(self, leases: list[Lease]) -> None:
        now = time.monotonic()
        for lease in leases:
            if self._matches(lease.message.attributes):
                with self._lock:
                    self._outstanding.offer(lease, now)
            else:
                self.tally.filtered += 1
                self._ack(self._subscription, lease.ack_id)
        self.dispatch()

    def _deliver(self, delivery: Delivery) -> None:
        done = self._forward(delivery) if delivery.dead else self._push(delivery)
        message_id, now = delivery.message.message_id, time.monotonic()
        with self._lock:
            ack_id = self._outstanding.acked(message_id, now) if done else ""
            if not done:
                self._outstanding.failed(message_id, now)
        if done:
            self._ack(self._subscription, ack_id)
        else:
            self.rescheduled.set()
        self.dispatch()

    def _push(self, delivery: Delivery) -> bool:
        outcome = self._pushes.push(self.route.target, delivery.message, delivery.attempt)
        with self._lock:
            self.tally.push_ended(acked=outcome.acked)
        if not outcome.acked:
            self._report("push.failed", delivery, status=outcome.status, failure=outcome.failure)
        return outcome.acked

    def _forward(self, delivery: Delivery) -> bool:
        message = delivery.message
        attributes = dead_letter_attributes(message, self._subscription, delivery.attempt)
        topic = self.route.dead_letter_topic or ""
        try:
            self._wire.publish(topic, [dataclasses.replace(message, attributes=attributes)])
        except CloudError as error:
            self._report_refusal("dead_letter.failed", error)
            return False
        with self._lock:
            self.tally.dead_lettered += 1
        self._report("dead_letter.forwarded", delivery, topic=topic)
        return True

    def _modify_leases(self, seconds: int) -> None:
        with self._lock:
            ack_ids = self._outstanding.ack_ids()
        if not ack_ids:
            return
        try:
            self._wire.modify_ack_deadline(self._subscription, ack_ids, seconds)
        except CloudError as error:
            self._report_refusal("lease.failed", error)

    def _report(self, event: str, delivery: Delivery, **fields: object) -> None:
        log_event(
            event,
            subscription=self.route.name,
            messageId=delivery.message.message_id,
            attempt=delivery.attempt,
            **fields,
        )

    def _report_refusal(self, event: str, error: Exception) -> None:
        if self._stopping.is_set():
            return
        log_event(event, subscription=self.route.name, error=str(error).partition("\n")[0])
        self._stopping.wait(_REFUSED_SECONDS)
