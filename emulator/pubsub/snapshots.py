"""Snapshots of a subscription, and seeking: https://cloud.google.com/pubsub/docs/replay-overview."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from emulator.pubsub import protos
from emulator.pubsub.messages import Published
from emulator.pubsub.protos import Proto
from emulator.pubsub.settings import DAY
from emulator.pubsub.subscriptions import Subscription
from emulator.pubsub.topics import LiveTopic
from emulator.refusals import failed_precondition

_LIFETIME: Final = 7 * DAY
_LEAST_LIFETIME: Final = 3600


@dataclass(slots=True)
class Snapshot:
    """What was not acked when it was made, and all that its topic got since."""

    config: Proto
    messages: list[Published]
    expires: float


def capture(name: str, labels: dict[str, str], subscription: Subscription, now: float) -> Snapshot:
    """A snapshot of now. It lives 7 days less the age of its oldest message, and at least one hour."""
    messages = subscription.backlog.unacked()
    age = now - min((message.time for message in messages), default=now)
    expires = now + _LIFETIME - age
    if expires - now < _LEAST_LIFETIME:
        raise failed_precondition("The snapshot would expire in less than one hour: the backlog is too old")
    wire = protos.Snapshot(name=name, topic=subscription.config.topic, labels=labels)
    wire.expire_time.CopyFrom(protos.timestamp(expires))
    return Snapshot(wire, messages, expires)


def seek_to_snapshot(subscription: Subscription, snapshot: Snapshot) -> None:
    """Make unacked what the snapshot holds, and acked all else."""
    unacked = [message for message in snapshot.messages if subscription.wants(message)]
    held = {message.number for message in unacked}
    others = (entry.message for entry in subscription.backlog.entries.values())
    subscription.restart(unacked, [message for message in others if message.number not in held])


def seek_to_time(subscription: Subscription, topic: LiveTopic | None, time: float) -> None:
    """Make acked what was published before, and unacked what was published since and is still kept."""
    known = {entry.message.number: entry.message for entry in subscription.backlog.entries.values()}
    if topic is not None:
        known |= {message.number: message for message in topic.log if subscription.wants(message)}
    messages = [known[number] for number in sorted(known)]
    cut = round(time * 1e6)
    unacked = [message for message in messages if round(message.time * 1e6) >= cut]
    subscription.restart(unacked, [message for message in messages if round(message.time * 1e6) < cut], time)
