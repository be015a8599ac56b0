"""`POST /evaluate/repeat`: is a decision of old made again, by the version that made it?"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, Literal

from agent_mesh.contracts.policy import RepeatAnswer, RepeatRequest
from agent_mesh.contracts.problems import Conflict
from agent_mesh.policy.active import ActivePolicy
from agent_mesh.policy.catalogue import PolicyCatalogue
from agent_mesh.policy.decisions import Policy
from agent_mesh.policy.errors import BundleRefused

_KEPT_POLICIES: Final = 4


class Repeater:
    """Decides again. The last few versions stay compiled."""

    def __init__(self, policy: ActivePolicy, catalogue: PolicyCatalogue) -> None:
        """Ask `policy` where its version is in force, else the version that `catalogue` has."""
        self._active = policy
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._compiled: OrderedDict[str, Policy] = OrderedDict()

    def repeat(self, request: RepeatRequest) -> RepeatAnswer:
        """Return what that version decides today; raise `NotFound` for a version that is not here any more."""
        decided = self.policy(request.policy_version).decide(request.kind, request.input)
        allow: Literal["allow", "deny"] = "allow" if decided.allow else "deny"
        digest_matches = decided.digest == request.digest
        return RepeatAnswer(
            repeats=digest_matches and request.decision in {None, allow},
            digest_matches=digest_matches,
            decision=allow,
            reasons=list(decided.reasons),
            obligations=decided.obligations,
            risk_after=decided.risk_after,
            policy_ref=decided.policy_ref,
        )

    def policy(self, version: str) -> Policy:
        """Return the policy of a version; raise `NotFound`, `Conflict` where it cannot be loaded, or `Unavailable`."""
        in_force = self._active.in_force().policy
        if in_force.version == version:
            return in_force
        with self._lock:
            if version not in self._compiled:
                self._compiled[version] = _compiled(self._catalogue, version)
                if len(self._compiled) > _KEPT_POLICIES:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(version)
            return self._compiled[version]


def _compiled(catalogue: PolicyCatalogue, version: str) -> Policy:
    try:
        return Policy(catalogue.bundle(version))
    except BundleRefused as refused:
        raise Conflict(f"Version {version} cannot be loaded by the engine of today: {refused}") from refused
