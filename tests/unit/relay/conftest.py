"""A relay over an empty Firestore."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.relay import Draft, History, Hub, Message, Relay, StreamLimits
from tests.conftest import HandClock

Append = Callable[..., list[Message]]


@pytest.fixture
def history(database: FirestoreClient, clock: HandClock) -> History:
    return History(database, clock)


@pytest.fixture
def hub(history: History) -> Hub:
    return Hub(history)


@pytest.fixture
def relay(hub: Hub, history: History, clock: HandClock) -> Relay:
    """Streams that never wait: where there is nothing to read they yield a heartbeat."""
    return Relay(hub, history, clock, StreamLimits(heartbeat_s=0.0))


@pytest.fixture
def append(history: History) -> Append:
    """Append so many messages to a topic, without telling the hub."""

    def appended(topic: str, count: int = 1) -> list[Message]:
        published = history.append(topic, [Draft(f'{{"n":{number}}}') for number in range(count)])
        return [each.message for each in published if each.message]

    return appended
