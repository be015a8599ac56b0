"""All resources of a server, and what happens between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from emulator.delivery.dead_letter import dead_letter_attributes
from emulator.pubsub import names
from emulator.pubsub.backlog import Entry
from emulator.pubsub.clock import Clock, Timers
from emulator.pubsub.faults import Faults
from emulator.pubsub.messages import Published
from emulator.pubsub.protos import Proto, PubsubMessage, seconds, timestamp
from emulator.pubsub.push import Post, PushConsumer
from emulator.pubsub.schemas import Schemas
from emulator.pubsub.snapshots import Snapshot
from emulator.pubsub.subscriptions import Subscription, Surroundings
from emulator.pubsub.topics import LiveTopic
from emulator.pubsub.usage import Usage
from emulator.refusals import failed_precondition
from emulator.usage.attribution import current_trace

_SWEEP_SECONDS: Final = 10.0
_Kept = TypeVar("_Kept")


@dataclass(slots=True)
class Broker:
    """The state of a server. Everything happens on its event loop."""

    clock: Clock
    post: Post
    faults: Faults = field(default_factory=Faults)
    usage: Usage = field(default_factory=Usage)
    schemas: Schemas = field(default_factory=Schemas)
    topics: dict[str, LiveTopic] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    policies: dict[str, Proto] = field(default_factory=dict)
    next_number: int = 1
    timers: Timers = field(init=False)
    around: Surroundings = field(init=False)

    def __post_init__(self) -> None:
        """Plan the sweeping."""
        self.timers = Timers(self.clock)
        self.around = Surroundings(self.clock, self.timers, self.faults, self.usage, self.forward)

    def start(self) -> None:
        """Begin to forget what is too old. Needs the running loop."""
        self.timers.at(self.clock.now() + _SWEEP_SECONDS, self._sweep)

    def move_clock(self, step: Callable[[], None]) -> None:
        """Do something to the clock; what became due happens before this returns."""
        step()
        self.timers.catch_up()

    def deliveries(self) -> dict[str, dict[str, int]]:
        """What was pushed, by push subscription."""
        return {name: one.deliveries() for name, one in self.subscriptions.items() if one.pushes}

    def hold_pushes(self) -> None:
        """Begin no further push."""
        self.post.held = True

    def release_pushes(self) -> None:
        """Push again."""
        self.post.held = False
        for subscription in list(self.subscriptions.values()):
            subscription.wake()

    def topic(self, name: str) -> LiveTopic:
        """A topic that exists, or Refusal."""
        return _existing(self.topics, names.TOPICS, name, "Topic not found")

    def subscription(self, name: str) -> Subscription:
        """A subscription that exists, or Refusal."""
        return _existing(self.subscriptions, names.SUBSCRIPTIONS, name, "Subscription does not exist")

    def snapshot(self, name: str) -> Snapshot:
        """A snapshot that exists, or Refusal."""
        return _existing(self.snapshots, names.SNAPSHOTS, name, "Snapshot does not exist")

    def publish(self, topic: LiveTopic, wires: Iterable[Proto]) -> list[str]:
        """Take what a call publishes, and return the ids."""
        published = self._publish("Publish", topic, wires, current_trace.get())
        return [message.wire.message_id for message in published]

    def _publish(self, method: str, topic: LiveTopic, wires: Iterable[Proto], call: str) -> list[Published]:
        """Give messages ids and times, and deliver them."""
        now = round(self.clock.now(), 6)
        stamp = timestamp(now)
        published: list[Published] = []
        for number, wire in enumerate(wires, self.next_number):
            wire.message_id = str(number)
            wire.publish_time.CopyFrom(stamp)
            published.append(Published.of(number, wire, now, call))
        self.next_number += len(published)
        self.usage.published(method, topic.name, published, call)
        topic.deliver(published)
        return published

    def forward(self, topic_name: str, subscription: str, entry: Entry) -> bool:
        """Publish a dead message to its dead-letter topic; False when there is no such topic."""
        topic = self.topics.get(topic_name)
        if topic is None:
            return False
        message = entry.message
        attributes = dead_letter_attributes(message.plain(), subscription, entry.deliveries)
        wire = PubsubMessage(data=message.wire.data, attributes=attributes, ordering_key=message.ordering_key)
        self._publish("DeadLetter", topic, [wire], message.trace)
        self.post.report(
            "dead_letter.forwarded",
            subscription=subscription,
            messageId=message.wire.message_id,
            attempt=entry.deliveries,
            topic=topic_name,
        )
        return True

    def add_topic(self, config: Proto) -> LiveTopic:
        """Create a topic that has been checked."""
        topic = self.topics[config.name] = LiveTopic(config)
        return topic

    def change_topic(self, topic: LiveTopic, config: Proto) -> None:
        """Take settings that have been checked, and tell the subscriptions what it retains."""
        topic.config = config
        if not topic.retention:
            topic.log.clear()
        for subscription in topic.subscriptions.values():
            subscription.config.ClearField("topic_message_retention_duration")
            if topic.retention:
                subscription.config.topic_message_retention_duration.CopyFrom(config.message_retention_duration)

    def delete_topic(self, topic: LiveTopic) -> None:
        """Its subscriptions stay, without a topic."""
        del self.topics[topic.name]
        for subscription in topic.subscriptions.values():
            subscription.config.topic = names.DELETED_TOPIC
            subscription.config.ClearField("topic_message_retention_duration")
        for snapshot in topic.snapshots.values():
            snapshot.config.topic = names.DELETED_TOPIC

    def add_subscription(self, config: Proto) -> Subscription:
        """Create a subscription that has been checked."""
        subscription = self.subscriptions[config.name] = Subscription(config, self.around)
        topic = self.topics.get(config.topic)
        if topic is not None and not config.detached:
            topic.subscriptions[config.name] = subscription
        self._serve_push(subscription)
        return subscription

    def change_subscription(self, subscription: Subscription, config: Proto) -> None:
        """Take settings that have been checked; another way of delivery ends the present one."""
        before = subscription.config.push_config
        subscription.reconfigure(config)
        if before != config.push_config or subscription.config.push_config.push_endpoint:
            subscription.close(failed_precondition("The subscription's delivery type was changed"))
            self._serve_push(subscription)
        subscription.last_used = self.clock.now()
        subscription.wake()

    def delete_subscription(self, subscription: Subscription) -> None:
        """Delete it; whoever waits for its messages is told."""
        del self.subscriptions[subscription.name]
        self._unlink(subscription)
        subscription.close()

    def detach(self, subscription: Subscription) -> None:
        """It keeps its settings and loses its messages: https://cloud.google.com/pubsub/docs/detach-subscriptions."""
        self._unlink(subscription)
        subscription.config.detached = True
        subscription.config.ClearField("topic_message_retention_duration")
        subscription.restart((), ())
        subscription.close(failed_precondition("The subscription is detached from its topic"))

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Keep it, and what its topic gets from now on."""
        self.snapshots[snapshot.config.name] = snapshot
        topic = self.topics.get(snapshot.config.topic)
        if topic is not None:
            topic.snapshots[snapshot.config.name] = snapshot

    def delete_snapshot(self, name: str) -> None:
        """Forget it and what only it kept."""
        snapshot = self.snapshots.pop(name)
        topic = self.topics.get(snapshot.config.topic)
        if topic is not None:
            topic.snapshots.pop(name, None)

    def clear(self) -> None:
        """Back to an empty server; whoever waits is told."""
        for subscription in list(self.subscriptions.values()):
            subscription.close()
        for kept in (self.topics, self.subscriptions, self.snapshots, self.policies):
            kept.clear()
        self.schemas.clear()
        self.faults.clear()
        self.usage.clear()
        self.timers.clear()
        self.start()

    def _unlink(self, subscription: Subscription) -> None:
        topic = self.topics.get(subscription.config.topic)
        if topic is not None:
            topic.subscriptions.pop(subscription.name, None)

    def _serve_push(self, subscription: Subscription) -> None:
        if subscription.pushes:
            subscription.consumers[PushConsumer(subscription, self.post)] = None

    def _sweep(self) -> None:
        now = self.clock.now()
        for topic in self.topics.values():
            topic.forget_before(now - topic.retention)
        for subscription in list(self.subscriptions.values()):
            subscription.forget_before(now - subscription.retention)
            policy = subscription.config.expiration_policy
            busy = bool(subscription.consumers)
            if policy.HasField("ttl") and not busy and now - subscription.last_used > seconds(policy.ttl):
                self.delete_subscription(subscription)
        for name in [name for name, kept in self.snapshots.items() if kept.expires <= now]:
            self.delete_snapshot(name)
        self.timers.at(now + _SWEEP_SECONDS, self._sweep)


def _existing(kept: dict[str, _Kept], kind: str, name: str, otherwise: str) -> _Kept:
    found = kept.get(name)
    if found is None:
        raise names.missing(kind, name, otherwise)
    return found
