"""Topics with their subscriptions, as Pub/Sub knows them and as the stack delivers them."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.console.pubsub_calls import OWN_PREFIX, PubSubCalls
from emulator.console.sources import Counts, Deliveries, Json
from emulator.errors import EmulatorError
from emulator.pubsub.protos import Proto
from emulator.routes import Route


def listed_topics(calls: PubSubCalls, routes: Sequence[Route], deliveries: Deliveries | None) -> Json:
    """All topics by name; raises ``grpc.RpcError`` when Pub/Sub refuses."""
    routed = {route.target.subscription: route for route in routes}
    counts = _counted(deliveries)
    subscriptions: dict[str, list[Json]] = {topic.name: [] for topic in calls.topics()}
    for each in sorted(calls.subscriptions(), key=lambda one: str(one.name)):
        if not short_name(each.name).startswith(OWN_PREFIX):
            subscriptions.setdefault(each.topic, []).append(_shown(each, routed.get(each.name), counts))
    return {
        "topics": [
            {"name": name, "id": short_name(name), "subscriptions": below}
            for name, below in sorted(subscriptions.items())
        ]
    }


def _counted(deliveries: Deliveries | None) -> Counts:
    try:
        return deliveries() if deliveries else {}
    except EmulatorError:
        return {}  # who delivers is being restarted: topics are worth seeing without counts


def short_name(name: str) -> str:
    """The last part of a full name."""
    return name.rpartition("/")[2]


def _shown(subscription: Proto, routed: Route | None, counts: Counts) -> Json:
    dead = subscription.dead_letter_policy.dead_letter_topic
    return {
        "name": subscription.name,
        "id": short_name(subscription.name),
        "filter": subscription.filter or (routed.filter if routed else ""),
        "pushEndpoint": subscription.push_config.push_endpoint or (routed.target.endpoint if routed else ""),
        "deadLetterTopic": short_name(dead or (routed.dead_letter_topic or "" if routed else "")),
        "ordered": subscription.enable_message_ordering,
        "detached": subscription.detached,
        "deliveries": counts.get(short_name(subscription.name)),
    }
