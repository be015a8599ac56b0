"""The topics and subscriptions of a roles file, and the calls that make a Pub/Sub have exactly these.

What the deployment's Terraform would create, with two differences: the retry policy is the one of ``local`` in the
roles file, for nobody wants to wait ten seconds, and a subscription whose role does not run is a pull subscription,
so that its messages wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from emulator.delivery.push import PushTarget
from emulator.errors import StartError
from emulator.identities import Identities
from emulator.pubsub.protos import Duration, Proto, Subscription, Topic
from emulator.pubsub_wire import CloudError, PubSubWire
from emulator.routes import routes, subscription_path, topic_path
from emulator.topology import Retry, Topology

LEASE_SECONDS: Final = 20
"""How long the bridge holds a message before it has to ask for longer."""

_LEAST_ACK_DEADLINE_SECONDS: Final = 10
_WEEK_SECONDS: Final = 7 * 86400
_OURS: Final = {"provisioned-by": "local-stack"}
_FIXED: Final = ("topic", "filter", "enable_message_ordering")
_CHANGEABLE: Final = (
    "push_config",
    "ack_deadline_seconds",
    "message_retention_duration",
    "retry_policy",
    "dead_letter_policy",
    "expiration_policy",
)
_NEVER_EXPIRES: Final[Mapping[str, Proto]] = {}
"""An expiration policy without a time to live; a subscription without a policy expires after 31 idle days."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything of one project that should exist, as Google's messages."""

    project: str
    topics: Sequence[Proto]
    subscriptions: Sequence[Proto]


def pushed_resources(topology: Topology, identities: Identities, role_urls: Mapping[str, str]) -> Resources:
    """For a Pub/Sub that pushes itself to the roles that have a URL."""
    targets = {route.name: route.target for route in routes(topology, identities, role_urls)}
    subscriptions = [_subscription(topology, identities.project, name) for name in topology.subscriptions]
    for name, subscription in zip(topology.subscriptions, subscriptions, strict=True):
        if name in targets:
            subscription.push_config.CopyFrom(_push_config(targets[name]))
    parked = _parked(topology, identities.project)
    return Resources(identities.project, _topics(topology, identities.project), [*subscriptions, *parked])


def leased_resources(topology: Topology, project: str) -> Resources:
    """For a Pub/Sub behind the bridge: it only keeps and leases messages, the bridge does the rest.

    Google's emulator keeps messages for a week at most, the service for a month.
    """
    subscriptions = [
        Subscription(
            name=subscription_path(project, name),
            topic=topic_path(project, wanted.topic),
            ack_deadline_seconds=LEASE_SECONDS,
            enable_message_ordering=wanted.ordering,
            message_retention_duration=_duration(wanted.message_retention_seconds),
            expiration_policy=_NEVER_EXPIRES,
            labels=_OURS,
        )
        for name, wanted in topology.subscriptions.items()
    ]
    subscriptions += _parked(topology, project)
    for subscription in subscriptions:
        if subscription.message_retention_duration.seconds > _WEEK_SECONDS:
            subscription.message_retention_duration.CopyFrom(_duration(_WEEK_SECONDS))
    return Resources(project, _topics(topology, project), subscriptions)


def differing(present: Proto, wanted: Proto) -> list[str]:
    """The fields of a subscription that are not as wanted; others are not ours to set."""
    return [name for name in (*_FIXED, *_CHANGEABLE) if getattr(present, name) != getattr(wanted, name)]


def provision(wire: PubSubWire, wanted: Resources, seconds: float) -> None:
    """Create what is missing, change what differs, and delete what an earlier call made and is wanted no longer.

    A subscription whose topic, filter or ordering differs is made anew, as Terraform would: its messages are lost.
    Raises StartError when Pub/Sub does not answer within ``seconds``, or refuses.
    """
    try:
        wire.wait_until_ready(wanted.project, seconds)
    except CloudError as error:
        raise StartError(f"Pub/Sub does not answer within {seconds:g} s: {error}") from error
    try:
        _provision_topics(wire, wanted)
        _provision_subscriptions(wire, wanted)
        _delete_leftovers(wire, wanted)
    except CloudError as error:
        raise StartError(f"Pub/Sub refuses a topic or subscription of the roles file: {error}") from error


def _provision_topics(wire: PubSubWire, wanted: Resources) -> None:
    present = {topic.name for topic in wire.topics(wanted.project)}
    for topic in wanted.topics:
        if topic.name not in present:
            wire.create_topic(topic)


def _provision_subscriptions(wire: PubSubWire, wanted: Resources) -> None:
    present = {subscription.name: subscription for subscription in wire.subscriptions(wanted.project)}
    for subscription in wanted.subscriptions:
        if subscription.name not in present:
            wire.create_subscription(subscription)
            continue
        changes = differing(present[subscription.name], subscription)
        if set(changes) & set(_FIXED):
            wire.delete_subscription(subscription.name)
            wire.create_subscription(subscription)
        elif changes:
            wire.update_subscription(subscription, changes)


def _delete_leftovers(wire: PubSubWire, wanted: Resources) -> None:
    names = {one.name for one in (*wanted.topics, *wanted.subscriptions)}
    for subscription in wire.subscriptions(wanted.project):
        if subscription.labels == _OURS and subscription.name not in names:
            wire.delete_subscription(subscription.name)
    for topic in wire.topics(wanted.project):
        if topic.labels == _OURS and topic.name not in names:
            wire.delete_topic(topic.name)


def _topics(topology: Topology, project: str) -> list[Proto]:
    return [Topic(name=topic_path(project, name), labels=_OURS) for name in topology.topics]


def _parked(topology: Topology, project: str) -> list[Proto]:
    return [
        Subscription(
            name=subscription_path(project, name),
            topic=topic_path(project, wanted.topic),
            ack_deadline_seconds=_LEAST_ACK_DEADLINE_SECONDS,
            message_retention_duration=_duration(wanted.message_retention_seconds),
            expiration_policy=_NEVER_EXPIRES,
            labels=_OURS,
        )
        for name, wanted in topology.parked.items()
    ]


def _subscription(topology: Topology, project: str, name: str) -> Proto:
    wanted = topology.subscriptions[name]
    subscription = Subscription(
        name=subscription_path(project, name),
        topic=topic_path(project, wanted.topic),
        filter=wanted.filter,
        ack_deadline_seconds=wanted.ack_deadline_seconds,
        enable_message_ordering=wanted.ordering,
        message_retention_duration=_duration(wanted.message_retention_seconds),
        retry_policy=_retry_policy(topology.retry(name)),
        expiration_policy=_NEVER_EXPIRES,
        labels=_OURS,
    )
    if wanted.dead_letter:
        subscription.dead_letter_policy.dead_letter_topic = topic_path(project, wanted.dead_letter.topic)
        subscription.dead_letter_policy.max_delivery_attempts = wanted.dead_letter.max_delivery_attempts
    return subscription


def _retry_policy(retry: Retry) -> dict[str, Proto]:
    return {
        "minimum_backoff": _duration(retry.minimum_backoff_seconds),
        "maximum_backoff": _duration(retry.maximum_backoff_seconds),
    }


def _push_config(target: PushTarget) -> Proto:
    push = Subscription().push_config
    push.push_endpoint = target.endpoint
    push.oidc_token.service_account_email = target.service_account
    push.oidc_token.audience = target.audience
    return push


def _duration(seconds: float) -> Proto:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration
