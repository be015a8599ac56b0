"""A version in the shadow of the one in force: asked the same, and only its differences are told.

It can cost a call time, and nothing else: at most a tenth of a second, and after such a one it rests. What it says is
never an answer, and what goes wrong with it is a difference like any other.
"""

from __future__ import annotations

import threading
from typing import Final

from pydantic import JsonValue

from agent_mesh.platform.clock import Clock
from agent_mesh.platform.events import EventLog
from agent_mesh.policy.decisions import Decision, Policy

DIFFERS: Final = "mesh.policy.differs"
PATIENCE_S: Final = 0.1
REST_S: Final = 10.0
"""How long a shadow that was too slow is not asked."""

EVENTS_A_MINUTE: Final = 10
_MINUTE_S: Final = 60.0


class Shadow:
    """One policy that is compared with the decisions of another. Threads may share it."""

    def __init__(self, name: str, policy: Policy, clock: Clock, events: EventLog) -> None:
        """`policy` should give up after `PATIENCE_S`: its questions are asked within somebody's call."""
        self.name: Final = name
        self._version: Final = policy.version
        self._policy = policy
        self._clock = clock
        self._events = events
        self._lock = threading.Lock()
        self._resting_until = 0.0
        self._minute = (0.0, 0)
        self._suppressed = 0

    def compare(self, decision: Decision, value: JsonValue) -> None:
        """Ask the shadow what was decided, and gather the event `mesh.policy.differs` if it decides otherwise."""
        now = self._clock.now()
        if now < self._resting_until:
            return
        other = self._policy.decide(decision.kind, value)
        if other.out_of_time:
            self._resting_until = now + REST_S
        if _effect(other) != _effect(decision) and self._may_tell(now):
            self._tell(decision, other)

    def _may_tell(self, now: float) -> bool:
        """Count, and allow so many events a minute: a version that differs in everything must not flood the mesh."""
        with self._lock:
            began, told = self._minute
            if not 0 <= now - began < _MINUTE_S:
                began, told = now, 0
            if told >= EVENTS_A_MINUTE:
                self._suppressed += 1
                return False
            self._minute = (began, told + 1)
            return True

    def _tell(self, decision: Decision, other: Decision) -> None:
        with self._lock:
            suppressed, self._suppressed = self._suppressed, 0
        subject = decision.digest or self._version
        data: dict[str, JsonValue] = {
            "kind": decision.kind,
            "digest": decision.digest,
            "in_force": _summary(decision),
            "in_shadow": _summary(other),
            "suppressed": suppressed,
        }
        self._events.emit(DIFFERS, subject, data, once=self._version)


def _effect(decision: Decision) -> tuple[object, ...]:
    """Return what a decision does; the rule that made it, its words and its version do nothing."""
    return decision.allow, frozenset(decision.reasons), decision.obligations, decision.risk_after


def _summary(decision: Decision) -> dict[str, JsonValue]:
    return {
        "decision": "allow" if decision.allow else "deny",
        "reasons": list(decision.reasons),
        "policy_ref": decision.policy_ref,
        "policy_version": decision.policy_version,
    }
