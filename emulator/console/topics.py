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
    bridged = {route.target.subscription: route for route in routes}
    counts = _counted(deliveries)
    subscriptions: dict[str, list[Json]] = {topic.name: [] for topic in calls.topics()}
    for each in sorted(calls.subscriptions(), key=lambda one: str(one.name)):
        if not short_name(each.name).startswith(OWN_PREFIX):
            subscriptions.setdefault(each.topic, []).append(_shown(each, bridged.get(each.name), counts))
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


def _shown(subscription: Proto, bridged: Route | None, counts: Counts) -> Json:
    dead = subscription.dead_letter_policy.dead_letter_topic
    return {
        "name": subscription.name,
        "id": short_name(subscription.name),
        "filter": subscription.filter or (bridged.filter if bridged else ""),
        "pushEndpoint": subscription.push_config.push_endpoint or (bridged.target.endpoint if bridged else ""),
        "deadLetterTopic": short_name(dead or (bridged.dead_letter_topic or "" if bridged else "")),
        "ordered": subscription.enable_message_ordering,
        "detached": subscription.detached,
        "deliveries": counts.get(short_name(subscription.name)),
    }
