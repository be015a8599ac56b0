"""A subscription at work: who consumes it, what is leased, what comes back and what is dead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from emulator.delivery.backoff import Backoff
from emulator.delivery.filters import parse_filter
from emulator.delivery.tally import Tally
from emulator.pubsub import names
from emulator.pubsub.backlog import Appetite, Backlog, Entry, State
from emulator.pubsub.clock import Clock, Timers
from emulator.pubsub.faults import Faults
from emulator.pubsub.messages import Published
from emulator.pubsub.protos import Proto, ReceivedMessage, seconds
from emulator.pubsub.usage import Usage
from emulator.refusals import Refusal, failed_precondition, invalid, not_found

INVALID_ACK_ID: Final = "PERMANENT_FAILURE_INVALID_ACK_ID"
_ACK_ID: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
PUSH_BACKOFF: Final = Backoff(0.1, 60.0)
"""Between two pushes of a message without a retry policy: https://cloud.google.com/pubsub/docs/push#push_backoff."""


class Consumer(Protocol):
    """A waiting pull, an open stream, or the push of a subscription."""

    def serve(self) -> bool:
        """Take what it can; whether it took anything."""
        ...

    def released(self, entry: Entry, /) -> None:
        """A message that it held was acked, came back or expired."""
        ...

    def end(self, refusal: Refusal, /) -> None:
        """The subscription serves no longer: deleted, detached, or changed to another kind."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a subscription needs from the server. ``forward(topic, subscription, entry)`` dead-letters."""

    clock: Clock
    timers: Timers
    faults: Faults
    usage: Usage
    forward: Callable[[str, str, Entry], bool]


@dataclass(frozen=True, slots=True)
class AckOutcome:
    """What became of ack ids."""

    done: list[str]
    invalid: list[str]


class Subscription:
    """State of one subscription; its settings are the protobuf message ``config``."""

    def __init__(self, config: Proto, around: Surroundings) -> None:
        """``config`` has been checked and completed (see subscription_rules)."""
        self.around = around
        self.config = config
        self.backlog = Backlog(ordered=config.enable_message_ordering)
        self.consumers: dict[Consumer, None] = {}
        self.last_used = around.clock.now()
        self.tally = Tally()
        self._prefix = f"{config.name}:"
        self._matches = parse_filter(config.filter) if config.filter else None
        self._alarm = float("inf")
        self._closed = False
        self._skip_before = float("-inf")
        self.reconfigure(config)

    @property
    def name(self) -> str:
        """Its full name."""
        return str(self.config.name)

    @property
    def live(self) -> bool:
        """Whether messages that are published reach it."""
        return not self.config.detached and self.config.topic != names.DELETED_TOPIC

    @property
    def pushes(self) -> bool:
        """Whether its messages are pushed."""
        return bool(self.config.push_config.push_endpoint) and not self.config.detached

    def deliveries(self) -> dict[str, int]:
        """What was delivered so far, and what is not done yet."""
        return self.tally.report(self.backlog.open_count, self.backlog.leased_count)

    def reconfigure(self, config: Proto) -> None:
        """Take other settings; those that cannot change are the same."""
        self.config = config
        self.exactly_once = bool(config.enable_exactly_once_delivery)
        self.retention = seconds(config.message_retention_duration)
        self._keep = bool(config.retain_acked_messages)
        policy = config.dead_letter_policy
        self._most_deliveries = policy.max_delivery_attempts if config.HasField("dead_letter_policy") else 0
        self._backoff = PUSH_BACKOFF if config.push_config.push_endpoint else None
        if config.HasField("retry_policy"):
            retry = config.retry_policy
            self._backoff = Backoff(seconds(retry.minimum_backoff), seconds(retry.maximum_backoff))

    def offer(self, messages: Iterable[Published]) -> None:
        """Messages were published: those that the filter refuses are done at once."""
        for message in messages:
            if message.time < self._skip_before:
                continue
            if self.wants(message):
                self.backlog.add(message)
            else:
                self.tally.filtered += 1
                self.around.usage.filtered(self.name, message)
        self.wake()

    def wants(self, message: Published) -> bool:
        """Whether the filter lets a message through."""
        return self._matches is None or self._matches(message.attributes)

    def wake(self) -> None:
        """Hand out what is ready, consumer by consumer, until nobody takes more."""
        while self.backlog.ready and self._serve_one():
            pass

    def _serve_one(self) -> bool:
        for consumer in self.consumers:
            if consumer.serve():
                if consumer in self.consumers:
                    del self.consumers[consumer]
                    self.consumers[consumer] = None
                return True
        return False

    def take(self, appetite: Appetite, holder: object) -> list[Entry]:
        """Lease messages to a holder."""
        around = self.around
        now = around.clock.now()
        taken = self.backlog.take(appetite, holder, now)
        if taken:
            self.last_used = now
            self._plan(appetite.deadline)
        return taken

    def received(self, taken: Sequence[Entry]) -> list[Proto]:
        """Leased messages as pulls and streams answer them; whoever answers counts them."""
        around = self.around
        attempts = bool(self._most_deliveries)
        wired = [
            ReceivedMessage(
                ack_id=f"{self._prefix}{entry.message.number}-{entry.lease}",
                message=entry.message.wire,
                delivery_attempt=entry.deliveries if attempts else 0,
            )
            for entry in taken
        ]
        if around.faults.armed:
            around.faults.shuffle(self.name, wired)
            wired = [copy for one in wired for copy in ([one, one] if around.faults.duplicates(self.name) else [one])]
        return wired

    @property
    def counts_attempts(self) -> bool:
        """Whether deliveries are numbered: only with a dead-letter policy."""
        return bool(self._most_deliveries)

    def acknowledge(self, ack_ids: Iterable[str]) -> AckOutcome:
        """These are done. Without exactly-once delivery a late ack is as good as one in time."""
        outcome = AckOutcome([], [])
        for ack_id, number, lease in self._parse(ack_ids):
            entry, current = self._find(number, lease)
            if entry is not None and (current or not self.exactly_once):
                self.done(entry)
            elif self.exactly_once:
                outcome.invalid.append(ack_id)
                continue
            outcome.done.append(ack_id)
        self.last_used = self.around.clock.now()
        self.wake()
        return outcome

    def modify(self, ack_ids: Iterable[str], deadline_seconds: int) -> AckOutcome:
        """Give leases so many seconds from now; 0 gives the messages back."""
        outcome = AckOutcome([], [])
        now = self.around.clock.now()
        for ack_id, number, lease in self._parse(ack_ids):
            entry, current = self._find(number, lease)
            if entry is None or not current:
                (outcome.invalid if self.exactly_once else outcome.done).append(ack_id)
                continue
            outcome.done.append(ack_id)
            if deadline_seconds == 0:
                self.failed(entry)
            else:
                self.backlog.extend(entry, now + deadline_seconds)
                self._plan(now + deadline_seconds)
        self.wake()
        return outcome

    def done(self, entry: Entry) -> None:
        """A message was acked."""
        if entry.state is not State.ACKED:
            self._release(entry)
            self.backlog.ack(entry, keep=self._keep)

    def failed(self, entry: Entry) -> None:
        """A message was nacked or its lease ran out: dead after its last attempt, else again after its backoff.

        One of a subscription that is gone is gone with it, also if its push was still under way.
        """
        if self._closed:
            return
        now = self.around.clock.now()
        dead = 0 < self._most_deliveries <= entry.deliveries
        if dead and self.around.forward(self.config.dead_letter_policy.dead_letter_topic, self.name, entry):
            self.tally.dead_lettered += 1
            self._release(entry)
            self.backlog.ack(entry)
            return
        due = now + self._backoff.delay(entry.deliveries) if self._backoff else now
        for back in self.backlog.requeue(entry, due, now):
            self._release(back)
        if due > now:
            self._plan(due)

    def give_back(self, entry: Entry) -> None:
        """A message never left: its consumer went away before the answer. It counts as no attempt."""
        now = self.around.clock.now()
        if entry.state is State.LEASED:
            for back in self.backlog.requeue(entry, now, now):
                self._release(back)
            entry.deliveries -= 1

    def restart(
        self, unacked: Iterable[Published], acked: Iterable[Published], skip_before: float = float("-inf")
    ) -> None:
        """Seek: start again with these messages, and take no new one from before a time."""
        self._skip_before = skip_before
        for entry in self.backlog.entries.values():
            self._release(entry)
        self.backlog.replace(unacked, acked if self._keep else ())
        self.last_used = self.around.clock.now()
        self.wake()

    def forget_before(self, time: float) -> None:
        """Drop what is older than the retention."""
        entries = self.backlog.entries
        for entry in [one for one in entries.values() if one.message.time < time]:
            self._release(entry)
            if entry.state is State.ACKED:
                del entries[entry.message.number]
            else:
                self.backlog.ack(entry)

    def check_open(self) -> None:
        """Raise Refusal unless it still serves pulls."""
        if self._closed:
            raise not_found("Subscription does not exist")
        if self.config.detached:
            raise failed_precondition("The subscription is detached from its topic")

    def close(self, refusal: Refusal | None = None) -> None:
        """It was deleted (or this happened): consumers end."""
        self._closed = refusal is None
        for consumer in list(self.consumers):
            consumer.end(refusal or not_found("Subscription does not exist"))
        self.consumers.clear()

    def _parse(self, ack_ids: Iterable[str]) -> list[tuple[str, int, int]]:
        """Each ack id with its message's number and its lease. Raises Refusal before anything is done."""
        parsed = []
        for ack_id in ack_ids:
            match = _ACK_ID.fullmatch(ack_id.removeprefix(self._prefix))
            if match is None or not ack_id.startswith(self._prefix):
                raise invalid(f"Invalid ack id (ack_id={ack_id})")
            parsed.append((ack_id, int(match[1]), int(match[2])))
        return parsed

    def _find(self, number: int, lease: int) -> tuple[Entry | None, bool]:
        """A message that is not done, and whether this is its present lease."""
        entry = self.backlog.entries.get(number)
        if entry is None or entry.state is State.ACKED:
            return None, False
        return entry, entry.state is State.LEASED and entry.lease == lease

    def _release(self, entry: Entry) -> None:
        holder, entry.holder = entry.holder, None
        if holder in self.consumers:
            holder.released(entry)

    def _plan(self, when: float) -> None:
        if when < self._alarm:
            self._alarm = when
            self.around.timers.at(when, self._tick)

    def _tick(self) -> None:
        now = self.around.clock.now()
        if self._closed or now < self._alarm:
            return
        self._alarm = float("inf")
        for entry in self.backlog.expired(now):
            self.failed(entry)
        self.backlog.end_backoffs(now)
        due = self.backlog.next_due()
        if due < float("inf"):
            self._plan(due)
        self.wake()
