"""Whether an agent takes work: the `agents` collection, read through a cache of bounded age."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from google.cloud.firestore_v1.base_query import FieldFilter

from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.firestore import FirestoreClient, firestore_errors

COLLECTION: Final = "agents"


@dataclass(frozen=True)
class AgentControl:
    """An agent's switch. `releasing` is true from `resume` until every parked task was sent on."""

    paused: bool = False
    since: datetime | None = None
    by: str | None = None
    releasing: bool = False


class AgentControls:
    """Reads and sets the switches."""

    def __init__(self, database: FirestoreClient, clock: Clock, staleness_s: float) -> None:
        """Answers of `state` are at most `staleness_s` seconds old."""
        self._database = database
        self._clock = clock
        self._staleness_s = staleness_s
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, AgentControl]] = {}

    def state(self, agent: str) -> AgentControl:
        """Return the agent's switch, from the cache where that is young enough.

        A pause is read again each time: what `resume` sends on must not be turned away by what was so before.
        """
        now = self._clock.now()
        with self._lock:
            read_at, control = self._known.get(agent, (0.0, AgentControl()))
        if 0 <= now - read_at < self._staleness_s and not control.paused:
            return control
        with firestore_errors():
            fields = self._database.collection(COLLECTION).document(agent).get().to_dict() or {}
        control = AgentControl(
            fields.get("paused", False), fields.get("since"), fields.get("by"), fields.get("releasing", False)
        )
        with self._lock:
            self._known[agent] = (now, control)
        return control

    def pause(self, agent: str, by: str) -> AgentControl:
        """Let the agent take no more work."""
        return self._set(agent, AgentControl(paused=True, since=moment(self._clock.now()), by=by))

    def resume(self, agent: str, by: str) -> AgentControl:
        """Let the agent take work again; what was parked is then sent on."""
        return self._set(agent, AgentControl(paused=False, since=moment(self._clock.now()), by=by, releasing=True))

    def released(self, agent: str) -> None:
        """Note that everything parked was sent on."""
        with firestore_errors():
            self._database.collection(COLLECTION).document(agent).update({"releasing": False})
        with self._lock:
            self._known.pop(agent, None)

    def releasing(self) -> list[str]:
        """Return the agents whose parked tasks still have to be sent on."""
        with firestore_errors():
            found = (
                self._database.collection(COLLECTION)
                .where(filter=FieldFilter("releasing", "==", value=True))
                .limit(50)
                .get()
            )
        return [snapshot.id for snapshot in found]

    def _set(self, agent: str, control: AgentControl) -> AgentControl:
        fields = {"paused": control.paused, "since": control.since, "by": control.by, "releasing": control.releasing}
        with firestore_errors():
            self._database.collection(COLLECTION).document(agent).set(fields, merge=True)
        with self._lock:
            self._known[agent] = (self._clock.now(), control)
        return control
