"""Who may publish on a topic and read it: asked of policy, decision kind `relay`, for every topic.

A pattern is asked about by its own text first, as if it were a topic, and then topic by topic: a stream over `**` has
what its reader may see. An answer is remembered for a minute, so that a change of policy reaches open streams.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Protocol

from pydantic import JsonValue

from agent_mesh.contracts.problems import TopicDenied, Unavailable
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.ids import random_id
from agent_mesh.platform.settings import Settings
from agent_mesh.policy import Decision, Refusal
from agent_mesh.relay.stream import Readable
from agent_mesh.relay.topics import TopicPattern

KIND: Final = "relay"
DENIED: Final = "mesh.relay.denied"

_TRUSTED_SECONDS: Final = 60.0
_REMEMBERED_LIMIT: Final = 10_000
_PASSING: Final = {str(Refusal.OVERLOADED), str(Refusal.TIMED_OUT)}


class Action(StrEnum):
    """What somebody wants with a topic."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


class Decides(Protocol):
    """The mesh's policy, or one version of it."""

    def decide(self, kind: str, value: JsonValue) -> Decision:
        """Return the decision; raise `Unavailable` where it is not known which version is in force."""
        ...


class TopicPermissions:
    """Asks the policy in force."""

    def __init__(self, policy: Decides, settings: Settings, events: EventLog) -> None:
        """Know groups by the settings' lists; a denial is an event."""
        self._policy = policy
        self._groups = {
            "callers": _same_case(settings.callers),
            "operators": _same_case(settings.operators),
            "viewers": _same_case(settings.viewers),
        }
        self._events = events
        self._lock = threading.Lock()
        self._remembered: OrderedDict[tuple[str, ...], tuple[float, Decision]] = OrderedDict()

    def require(self, email: str, action: Action, topics: Sequence[str]) -> None:
        """Raise `TopicDenied` unless somebody may do this with each of these topics or patterns; tell of the denial."""
        for topic in topics:
            decision = self._decision(email, action, topic)
            if not decision.allow:
                self._tell(email, action, topic, decision)
                detail = f"{email} may not {action} on {topic}: {', '.join(decision.reasons) or 'no rule allows it'}."
                raise TopicDenied(detail)

    def require_patterns(self, email: str, patterns: Sequence[TopicPattern]) -> None:
        """Raise `TopicDenied` unless somebody may subscribe to all of these."""
        self.require(email, Action.SUBSCRIBE, [pattern.text for pattern in patterns])

    def readable(self, email: str) -> Readable:
        """Return what tells, for one reader's stream, whether it may have a topic's messages."""
        known: dict[str, tuple[float, bool]] = {}

        def may_read(topic: str) -> bool:
            until, allowed = known.get(topic, (0.0, False))
            now = time.monotonic()
            if now >= until:
                allowed = self._decision(email, Action.SUBSCRIBE, topic).allow
                known[topic] = (now + _TRUSTED_SECONDS, allowed)
            return allowed

        return may_read

    def _decision(self, email: str, action: Action, topic: str) -> Decision:
        """Return a decision; raise `Unavailable` where the engine had no time for one: that is no denial."""
        key = (email, action, topic)
        now = time.monotonic()
        with self._lock:
            until, remembered = self._remembered.get(key, (0.0, None))
        if remembered and now < until:
            return remembered
        decision = self._policy.decide(KIND, self._question(email, action, topic))
        if _PASSING.intersection(decision.reasons):
            raise Unavailable("Policy has no time to decide at the moment; ask again.", retry_after_s=1)
        with self._lock:
            self._remembered[key] = (now + _TRUSTED_SECONDS, decision)
            self._remembered.move_to_end(key)
            if len(self._remembered) > _REMEMBERED_LIMIT:
                self._remembered.popitem(last=False)
        return decision

    def _question(self, email: str, action: Action, topic: str) -> JsonValue:
        groups: list[JsonValue] = [name for name, emails in self._groups.items() if _same_case([email]) <= emails]
        words: list[JsonValue] = [*topic.split(".")]
        resource: JsonValue = {"topic": topic, "words": words}
        return {"subject": {"id": email, "groups": groups}, "action": str(action), "resource": resource}

    def _tell(self, email: str, action: Action, topic: str, decision: Decision) -> None:
        told: dict[str, JsonValue] = {
            "caller": email,
            "action": str(action),
            "reasons": [*decision.reasons],
            "policy_version": decision.policy_version,
            "digest": decision.digest,
        }
        self._events.emit(DENIED, topic, told, once=random_id("denial"))


def _same_case(emails: Sequence[str]) -> frozenset[str]:
    """Lower-case ASCII only, as `authorize` does."""
    return frozenset(email.lower() if email.isascii() else email for email in emails)
