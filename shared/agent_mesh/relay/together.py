"""Appends of many threads to one topic, gathered into one commit while the one before is under way.

Alone, they would lose races against each other: a topic is one chain. A lone append waits for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_mesh.contracts.problems import MeshError
from agent_mesh.relay.history import History, Published
from agent_mesh.relay.messages import Draft, Message

_LANES: Final = 64


@dataclass(eq=False)
class _Waiting:
    draft: Draft
    outcome: Published | MeshError | None = None


@dataclass
class _Lane:
    """Topics that take turns. `under_way` is held for a commit, `gathering` for a moment."""

    under_way: threading.Lock = field(default_factory=threading.Lock)
    gathering: threading.Lock = field(default_factory=threading.Lock)
    waiting: dict[str, list[_Waiting]] = field(default_factory=dict)


class Appends:
    """Appends single drafts for the threads of one instance."""

    def __init__(self, history: History, appended: Callable[[Sequence[Message]], object] | None = None) -> None:
        """Append to this history; `appended` gets what a commit appended to a topic, in order, before `append` ends."""
        self._history = history
        self._appended = appended
        self._lanes = [_Lane() for _ in range(_LANES)]

    def append(self, topic: str, draft: Draft) -> Published:
        """Append a draft, together with what other threads append to the topic; raise what their commit raised."""
        mine = _Waiting(draft)
        lane = self._lanes[hash(topic) % _LANES]
        with lane.gathering:
            lane.waiting.setdefault(topic, []).append(mine)
        with lane.under_way:
            if mine.outcome is None:
                with lane.gathering:
                    together = lane.waiting.pop(topic)
                self._append(topic, together)
        if isinstance(mine.outcome, Published):
            return mine.outcome
        raise mine.outcome or AssertionError("the commit of these drafts ended without an outcome")

    def _append(self, topic: str, together: Sequence[_Waiting]) -> None:
        try:
            published = self._history.append(topic, [each.draft for each in together])
        except MeshError as error:
            for each in together:
                each.outcome = error
            return
        for each, outcome in zip(together, published, strict=True):
            each.outcome = outcome
        messages = [outcome.message for outcome in published if outcome.message]
        if messages and self._appended:
            self._appended(messages)
