"""A topic at work: gives messages their ids and times, hands them to subscriptions and keeps what it retains."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from emulator.pubsub.messages import Published
from emulator.pubsub.protos import ACTIVE, Proto, Topic, seconds
from emulator.pubsub.settings import apply_mask, check_labels, check_retention

if TYPE_CHECKING:
    from emulator.pubsub.snapshots import Snapshot
    from emulator.pubsub.subscriptions import Subscription

_FROZEN: Final = frozenset({"name", "state", "satisfies_pzs", "tags", "kms_key_name"})


def completed(given: Proto) -> Proto:
    """A copy of a new topic's settings. Raises Refusal for what is not allowed."""
    config = Topic()
    config.CopyFrom(given)
    config.state = ACTIVE
    return _checked(config)


def updated(kept: Proto, given: Proto, mask: Proto) -> Proto:
    """A copy of a topic's settings with those of the mask. Raises Refusal for what is not allowed."""
    return _checked(apply_mask(kept, given, mask, _FROZEN, "schema_settings"))


def _checked(config: Proto) -> Proto:
    check_labels(config.labels)
    if config.HasField("message_retention_duration"):
        check_retention(config.message_retention_duration)
    return config


class LiveTopic:
    """State of one topic; its settings are the protobuf message ``config``."""

    def __init__(self, config: Proto) -> None:
        """``config`` has been checked."""
        self.config = config
        self.subscriptions: dict[str, Subscription] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.log: deque[Published] = deque()

    @property
    def name(self) -> str:
        """Its full name."""
        return str(self.config.name)

    @property
    def retention(self) -> float:
        """For how many seconds it keeps messages; 0 when subscriptions alone do."""
        return seconds(self.config.message_retention_duration)

    def deliver(self, messages: Sequence[Published]) -> None:
        """Hand new messages to everyone who is to have them."""
        if self.config.HasField("message_retention_duration"):
            self.log.extend(messages)
        for snapshot in self.snapshots.values():
            snapshot.messages.extend(messages)
        for subscription in list(self.subscriptions.values()):
            subscription.offer(messages)

    def forget_before(self, time: float) -> None:
        """Drop what is older than the retention."""
        while self.log and self.log[0].time < time:
            self.log.popleft()
