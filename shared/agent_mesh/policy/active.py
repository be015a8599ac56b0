"""The policy in force, as every role asks it in process: the package's own bundle until Firestore names another.

An instance looks at the switch at most once in `MESH_POLICY_STALENESS_SECONDS` while it is asked, and once before its
first decision: deciding by a version that may not be in force any more is worse than answering 503. After that, what
worked last stays in force whatever happens to Firestore, and a bundle that cannot be loaded never takes its place.
Engines are made at the first question, so that no process is forked with their threads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic
from typing import Final

from pydantic import JsonValue

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.clock import Clock
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient, LostRace
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.logs import log
from agent_mesh.policy.bundles import Bundle, packaged_bundle
from agent_mesh.policy.decisions import ENGINE_REF, Decision, Policy
from agent_mesh.policy.engine import Engine
from agent_mesh.policy.errors import BundleRefused
from agent_mesh.policy.saved import read_saved
from agent_mesh.policy.shadow import PATIENCE_S, Shadow
from agent_mesh.policy.switch import PACKAGED, PolicySwitches, Switch
from agent_mesh.policy.versions import PolicyVersions

BUNDLE: Final = "mesh"
"""Name of the one bundle that decides for the mesh."""

_FIRST_LOOK_PATIENCE_S: Final = 5.0
"""A process that has just started connects first, and its machine may be busy with starting others."""

_LOOK_PATIENCE_S: Final = 2.0


@dataclass(frozen=True)
class InForce:
    """What decides at the moment, and what is compared with it."""

    name: str
    policy: Policy
    shadow: Shadow | None = None


class ActivePolicy:
    """The mesh's policy. Threads may share it."""

    def __init__(self, database: FirestoreClient, clock: Clock, events: EventLog, staleness_s: float) -> None:
        """Nothing is connected, read or compiled yet."""
        self._versions = PolicyVersions(database, clock)
        self._switches = PolicySwitches(database, clock, BUNDLE)
        self._clock = clock
        self._events = events
        self._staleness_s = staleness_s
        self._lock = threading.Lock()
        self._in_force: InForce | None = None
        self._looked_at = 0.0
        self._failed_at = 0.0
        self._unfit: set[tuple[str, int]] = set()
        """Versions that could not be loaded, with the switch's revision: throwing it again tries again."""

    @classmethod
    def of(cls, parts: FunctionParts) -> ActivePolicy:
        """Return the policy of a function; one for each process is enough."""
        return cls(parts.database, parts.clock, parts.events, parts.settings.policy_staleness_seconds)

    def decide(self, kind: str, value: JsonValue) -> Decision:
        """Return the decision of the version in force, a denial whenever there is no clear one.

        Raises `Unavailable` if this instance could not yet find out which version that is.
        """
        in_force = self.in_force()
        decision = in_force.policy.decide(kind, value)
        if decision.policy_ref == ENGINE_REF:
            log("policy gave no answer, which denies", level=30, kind=kind, reasons=list(decision.reasons))
        if in_force.shadow is not None:
            in_force.shadow.compare(decision, value)
        return decision

    def in_force(self) -> InForce:
        """Return what decides, looking at the switch when that is due; raise `Unavailable` as `decide` does."""
        known = self._in_force
        if known is not None:
            # While one thread looks, the others go on with what is known: nobody waits for Firestore twice.
            if self._is_due() and self._lock.acquire(blocking=False):
                try:
                    self._look_again(known)
                finally:
                    self._lock.release()
            return self._in_force or known
        asked_at = monotonic()
        with self._lock:
            if self._in_force is None:
                if self._failed_at > asked_at:  # somebody looked in vain while this one waited
                    raise _not_known()
                self._in_force = self._first_look()
            return self._in_force

    def _is_due(self) -> bool:
        return not 0 <= self._clock.now() - self._looked_at < self._staleness_s

    def _first_look(self) -> InForce:
        self._looked_at = self._clock.now()
        try:
            switch = self._switches.read(patience_s=_FIRST_LOOK_PATIENCE_S)
            policy = self._load(switch.active)
        except (Unavailable, LostRace, BundleRefused) as error:
            self._failed_at = monotonic()
            log("the policy in force cannot be loaded", level=40, reason=str(error))
            raise _not_known() from error
        return InForce(switch.active, policy, self._shadow(switch, None))

    def _look_again(self, known: InForce) -> None:
        if not self._is_due():
            return
        self._looked_at = self._clock.now()
        try:
            switch = self._switches.read(patience_s=_LOOK_PATIENCE_S)
            name, policy = self._better(switch, known)
        except (Unavailable, LostRace) as error:
            log("the switch of the policy cannot be read; what is known stays in force", reason=str(error))
            return
        self._in_force = InForce(name, policy, self._shadow(switch, known.shadow))

    def _better(self, switch: Switch, known: InForce) -> tuple[str, Policy]:
        """Return what the switch names, or what is known if that cannot be loaded."""
        named = (switch.active, switch.revision)
        if switch.active != known.name and named not in self._unfit:
            try:
                return switch.active, self._load(switch.active)
            except BundleRefused as error:
                self._unfit.add(named)
                log("a version cannot be loaded; the one before stays in force", level=40, reason=str(error))
        return known.name, known.policy

    def _load(self, name: str) -> Policy:
        return packaged_policy(BUNDLE) if name == PACKAGED else Policy(self._bundle(name))

    def _bundle(self, name: str) -> Bundle:
        if name == PACKAGED:
            return packaged_bundle(BUNDLE)
        bundle = self._versions.bundle(name)
        if bundle is None:
            raise BundleRefused(f"Version {name} is not stored.")
        return bundle

    def _shadow(self, switch: Switch, known: Shadow | None) -> Shadow | None:
        """Return the shadow that the switch names; without one rather than with one that cannot be loaded."""
        if switch.shadow is None or (switch.shadow, switch.revision) in self._unfit:
            return None
        if known is not None and known.name == switch.shadow:
            return known
        try:
            bundle = self._bundle(switch.shadow)
            policy = Policy(bundle, Engine(bundle, workers=1, timeout_s=PATIENCE_S))
        except BundleRefused as error:
            self._unfit.add((switch.shadow, switch.revision))
            log("the shadow of the policy cannot be loaded", level=30, reason=str(error))
            return None
        except (Unavailable, LostRace) as error:
            log("the shadow of the policy cannot be read", reason=str(error))
            return None
        return Shadow(switch.shadow, policy, self._clock, self._events)


def packaged_policy(name: str) -> Policy:
    """Return the policy of a packaged bundle, from its compiled form where there is one for this engine."""
    bundle = packaged_bundle(name)
    return Policy(bundle, Engine(bundle, saved=read_saved(bundle)))


def _not_known() -> Unavailable:
    detail = "This instance could not yet find out which policy is in force, and decides nothing before; ask again."
    return Unavailable(detail, retry_after_s=1)
