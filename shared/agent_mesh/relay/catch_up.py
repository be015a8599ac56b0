"""What reached the history and not this instance: read from there, once for all its streams.

It may not have arrived because Pub/Sub is away, because the subscription was made anew, or because a publisher died
between its commit and telling of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_mesh.contracts.problems import InvalidRequest
from agent_mesh.relay.hub import Hub
from agent_mesh.relay.messages import Message
from agent_mesh.relay.stream import TopicHistory
from agent_mesh.relay.topics import TopicPattern


def catch_up(hub: Hub, history: TopicHistory) -> None:
    """Hand out what the listened topics have that was not handed out; raise `Unavailable`.

    Reads one document for a topic in which nothing is new. Streams drop what they have.
    """
    for topic in _listened(hub.patterns, history):
        for message in _unseen(topic, hub.last(topic), history):
            hub.publish(message)


def _listened(patterns: tuple[TopicPattern, ...], history: TopicHistory) -> list[str]:
    topics: dict[str, None] = {}
    for pattern in patterns:
        try:
            topics.update(dict.fromkeys(history.topics(pattern)))
        except InvalidRequest:  # it has come to mean too many topics: its streams see what is missing by themselves
            continue
    return list(topics)


def _unseen(topic: str, last: int | None, history: TopicHistory) -> Sequence[Message]:
    """Return what is to be handed out; where the last is not known, the newest sends who lacks more to the history."""
    return history.latest(topic).messages[-1:] if last is None else history.since(topic, last).messages
