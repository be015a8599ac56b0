"""What operators do to the mesh's policy: upload, look, shadow, activate, roll back. Each is an event with who did it.

A bundle is stored only after its tests passed in a process of its own, and is rehearsed once more before it comes into
force, for what is stored may be older than the engine. An act that was done already is done again without effect but
its event, so that whoever got no answer may repeat it.
"""

from __future__ import annotations

from typing import Final

from agent_mesh.contracts.policy import PolicyState, PolicyVersion, PolicyVersionDetail
from agent_mesh.contracts.problems import Conflict, InvalidRequest, NotFound
from agent_mesh.platform.clock import rfc3339
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.policy.active import BUNDLE
from agent_mesh.policy.acts import ACTIVATED, ROLLED_BACK, SHADOWED, UNSHADOWED, tell_thrown, tell_uploaded
from agent_mesh.policy.bundles import Bundle, packaged_bundle
from agent_mesh.policy.decisions import ACCESS, DISPATCH
from agent_mesh.policy.errors import BundleRefused
from agent_mesh.policy.rehearsal import rehearse
from agent_mesh.policy.switch import PACKAGED, PolicySwitches, Switch
from agent_mesh.policy.versions import PolicyVersions, StoredVersion

KINDS: Final = frozenset({ACCESS, DISPATCH, "relay"})
"""Everything that the mesh asks: a bundle that does not decide all of it would deny the rest."""

_LISTED: Final = 50
_PATIENCE_S: Final = 10.0


class PolicyCatalogue:
    """The operators' side of policy."""

    def __init__(self, parts: FunctionParts) -> None:
        """Wire from `parts`; nothing connects yet."""
        self._versions = PolicyVersions(parts.database, parts.clock)
        self._switches = PolicySwitches(parts.database, parts.clock, BUNDLE)
        self._events: EventLog = parts.events

    def state(self) -> PolicyState:
        """Return what is in force, and the latest versions."""
        listed = [_view(each) for each in self._versions.newest(_LISTED)]
        return _state(self._switch()).model_copy(update={"versions": listed})

    def detail(self, version: str) -> PolicyVersionDetail:
        """Return a version with its content; raise `NotFound`."""
        bundle = self.bundle(version)
        if version == PACKAGED:
            found = PolicyVersion(version=PACKAGED, release=bundle.manifest.release, tests=len(bundle.tests))
        else:
            found = _view(self._stored(version))
        return PolicyVersionDetail(bundle=bundle.model_dump(mode="json"), **found.model_dump())

    def bundle(self, version: str) -> Bundle:
        """Return a version's bundle, the packaged one by its hash too.

        Raises `NotFound`, or `Conflict` if what is stored is not what its name says.
        """
        packaged = packaged_bundle(BUNDLE)
        if version in {PACKAGED, packaged.version}:
            return packaged
        try:
            bundle = self._versions.bundle(version)
        except BundleRefused as refused:
            raise Conflict(f"{refused} It cannot be used; upload the bundle again.") from refused
        if bundle is None:
            raise NotFound(f"There is no version {version}; GET /policies lists what there is.")
        return bundle

    def upload(self, bundle: Bundle, by: str) -> PolicyVersion:
        """Rehearse and store a bundle; raise `InvalidRequest` with what its tests, or the vetting, found."""
        if bundle.name != BUNDLE:
            raise InvalidRequest(f"name: the mesh is decided for by bundle {BUNDLE}, not {bundle.name!r}.")
        tests = _rehearsed(bundle)
        try:
            stored = self._versions.put(bundle, tests, by)
        except BundleRefused as refused:
            raise InvalidRequest(str(refused)) from refused
        tell_uploaded(self._events, stored)
        self._events.publish_or_fail()
        return _view(stored)

    def activate(self, version: str, revision: int | None, by: str) -> PolicyState:
        """Bring a version into force. Raises `NotFound`, `Conflict` and, if it is unfit, `InvalidRequest`."""
        if version != PACKAGED:
            bundle = self._uploaded(version)
            missing = sorted(KINDS.difference(bundle.decisions))
            if missing:
                raise InvalidRequest(f"Version {version} does not decide {', '.join(missing)}: nobody could do that.")
            _rehearsed(bundle)
        before = self._switch()
        return _state(self._throw(ACTIVATED, before, before.activated(version), revision, by))

    def roll_back(self, revision: int | None, by: str) -> PolicyState:
        """Bring the version into force that was so before the last activation; raise `Conflict` if there is none.

        Without `revision` a repeat rolls back once more.
        """
        before = self._switch()
        after = before.rolled_back()
        if after.active != PACKAGED:
            _rehearsed(self._uploaded(after.active))
        return _state(self._throw(ROLLED_BACK, before, after, revision, by))

    def shadow(self, version: str | None, revision: int | None, by: str) -> PolicyState:
        """Compare a version with the one in force, or none. Raises `NotFound` and `Conflict`."""
        if version is not None and version != PACKAGED:
            self._uploaded(version)
        kind = UNSHADOWED if version is None else SHADOWED
        before = self._switch()
        return _state(self._throw(kind, before, before.shadowed(version), revision, by))

    def _throw(self, kind: str, before: Switch, after: Switch, revision: int | None, by: str) -> Switch:
        if after == before:
            if before.act != kind:
                return before  # it is so already, by another act
            done = before  # only the event may be missing
        elif revision is not None and revision != before.revision:
            detail = f"The policy is at revision {before.revision}, not {revision}: look again, and decide again."
            raise Conflict(detail)
        else:
            done = self._switches.throw(before, after, by, kind)
        tell_thrown(self._events, kind, BUNDLE, done)
        self._events.publish_or_fail()
        return done

    def _uploaded(self, version: str) -> Bundle:
        """Return a bundle that every function can read: the packaged one is told apart by its word, not by its hash."""
        self._stored(version)
        return self.bundle(version)

    def _switch(self) -> Switch:
        return self._switches.read(patience_s=_PATIENCE_S)

    def _stored(self, version: str) -> StoredVersion:
        stored = self._versions.summary(version)
        if stored is None:
            raise NotFound(f"There is no version {version}; GET /policies lists what there is.")
        return stored


def _rehearsed(bundle: Bundle) -> int:
    """Run the tests in a process of their own; return how many passed, raise `InvalidRequest` unless all did."""
    try:
        reports = rehearse(bundle)
    except BundleRefused as refused:
        raise InvalidRequest(f"The bundle was refused: {refused}") from refused
    failed = [report for report in reports if not report.passed]
    if failed:
        first = "; ".join(f"{report.name}: {report.fault}" for report in failed[:5])
        raise InvalidRequest(f"{len(failed)} of {len(reports)} tests failed: {first}")
    if not reports:
        raise InvalidRequest("The bundle has no tests: nobody knows what it decides.")
    return len(reports)


def _view(stored: StoredVersion) -> PolicyVersion:
    return PolicyVersion(
        version=stored.version,
        release=stored.release,
        tests=stored.test_count,
        uploaded_at=rfc3339(stored.uploaded_at),
        uploaded_by=stored.uploaded_by,
        size_bytes=stored.size_bytes,
    )


def _state(switch: Switch) -> PolicyState:
    return PolicyState(
        active=switch.active,
        packaged=packaged_bundle(BUNDLE).version,
        shadow=switch.shadow,
        previous=list(switch.previous),
        revision=switch.revision,
        changed_at=rfc3339(switch.changed_at) if switch.changed_at else None,
        changed_by=switch.changed_by or None,
    )
