"""Which subscription delivers where, as whom: pure, from the topology and the roles' URLs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emulator.delivery.backoff import Backoff
from emulator.delivery.outstanding import DeliveryPolicy
from emulator.delivery.push import PushTarget, base_uri
from emulator.identities import Identities
from emulator.topology import Subscription, Topology


@dataclass(frozen=True, slots=True)
class Route:
    """One subscription in use: names are full (``projects/P/...``)."""

    name: str
    topic: str
    filter: str
    target: PushTarget
    policy: DeliveryPolicy
    dead_letter_topic: str | None


def topic_path(project: str, topic: str) -> str:
    """The full name of a topic."""
    return f"projects/{project}/topics/{topic}"


def subscription_path(project: str, subscription: str) -> str:
    """The full name of a subscription."""
    return f"projects/{project}/subscriptions/{subscription}"


def routes(topology: Topology, identities: Identities, role_urls: Mapping[str, str]) -> list[Route]:
    """The routes to all roles that have a URL; the audience is the URL's base."""
    return [
        _route(topology, identities, name, role_urls[subscription.push.role] + subscription.push.path)
        for name, subscription in topology.subscriptions.items()
        if subscription.push.role in role_urls
    ]


def _route(topology: Topology, identities: Identities, name: str, endpoint: str) -> Route:
    subscription, project = topology.subscriptions[name], identities.project
    dead = subscription.dead_letter
    target = PushTarget(
        subscription=subscription_path(project, name),
        endpoint=endpoint,
        audience=base_uri(endpoint),
        service_account=identities.subscription(name),
        ack_deadline_seconds=subscription.ack_deadline_seconds,
        counts_attempts=dead is not None,
    )
    return Route(
        name=name,
        topic=topic_path(project, subscription.topic),
        filter=subscription.filter,
        target=target,
        policy=_policy(topology, name, subscription),
        dead_letter_topic=topic_path(project, dead.topic) if dead else None,
    )


def _policy(topology: Topology, name: str, subscription: Subscription) -> DeliveryPolicy:
    retry = topology.retry(name)
    return DeliveryPolicy(
        backoff=Backoff(retry.minimum_backoff_seconds, retry.maximum_backoff_seconds),
        concurrency=max(1, topology.roles[subscription.push.role].concurrency // 2),
        max_attempts=subscription.dead_letter.max_delivery_attempts if subscription.dead_letter else None,
        ordering=subscription.ordering,
    )


def unrouted(topology: Topology, used: Iterable[Route]) -> list[str]:
    """Subscriptions without a running target: their messages wait in Pub/Sub."""
    names = {route.name for route in used}
    return [name for name in topology.subscriptions if name not in names]
