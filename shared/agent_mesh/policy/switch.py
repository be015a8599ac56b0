"""The `policy_switches` collection: which version is in force, which is in its shadow, and which were before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_mesh.contracts.policy import Version
from agent_mesh.contracts.problems import Conflict, Unavailable
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.firestore import FirestoreClient, LostRace, firestore_errors

COLLECTION: Final = "policy_switches"
PACKAGED: Final = "packaged"
"""In place of a version: the bundle that a function's own package brings."""

_REMEMBERED: Final = 20


@dataclass(frozen=True)
class Switch:
    """What is in force; without a document, the package's own bundle. `revision` counts changes, `act` was the last."""

    active: str = PACKAGED
    shadow: str | None = None
    previous: tuple[str, ...] = ()
    revision: int = 0
    changed_at: datetime | None = None
    changed_by: str = ""
    act: str = ""
    update_time: Any = None

    def activated(self, version: str) -> Switch:
        """Return the switch with another version in force; one that comes into force shadows no more."""
        if version == self.active:
            return self
        remembered = (*self.previous, self.active)[-_REMEMBERED:]
        shadow = None if self.shadow == version else self.shadow
        return replace(self, active=version, previous=remembered, shadow=shadow)

    def rolled_back(self) -> Switch:
        """Return the switch as it was before the last activation; raise `Conflict` if there was none."""
        if not self.previous:
            raise Conflict("No version was in force before this one; activate one by its name.")
        return replace(self, active=self.previous[-1], previous=self.previous[:-1])

    def shadowed(self, version: str | None) -> Switch:
        """Return the switch with another version in the shadow, or none; raise `Conflict` if that one is in force."""
        if version is not None and version == self.active:
            raise Conflict(f"Version {version} is in force: it cannot be compared with itself.")
        return replace(self, shadow=version)


class PolicySwitches:
    """Reads and throws the switch of one bundle."""

    def __init__(self, database: FirestoreClient, clock: Clock, bundle: str) -> None:
        """Nothing is connected yet."""
        self._database = database
        self._clock = clock
        self._bundle = bundle

    def read(self, *, patience_s: float) -> Switch:
        """Return the switch, asking once for at most `patience_s` seconds; raise `Unavailable` if that fails."""
        with firestore_errors():
            snapshot = self._document().get(retry=None, timeout=patience_s)
        if not snapshot.exists:
            return Switch()
        try:
            stored = _Stored.model_validate(snapshot.to_dict())
        except ValidationError as error:  # nothing of ours writes that; the callers know what to do without it
            raise Unavailable(f"The switch of bundle {self._bundle} cannot be read.", retry_after_s=1) from error
        return Switch(**{**dict(stored), "previous": tuple(stored.previous)}, update_time=snapshot.update_time)

    def throw(self, before: Switch, after: Switch, by: str, act: str) -> Switch:
        """Write the switch if it is still as it was read; raise `Conflict` if somebody else was faster.

        `act` is the type of the event that tells of it.
        """
        now = moment(self._clock.now())
        thrown = replace(after, revision=before.revision + 1, changed_at=now, changed_by=by, act=act)
        fields: dict[str, object] = {
            "active": thrown.active,
            "shadow": thrown.shadow,
            "previous": list(thrown.previous),
            "revision": thrown.revision,
            "changedAt": thrown.changed_at,
            "changedBy": thrown.changed_by,
            "act": thrown.act,
        }
        try:
            with firestore_errors():
                written = self._write(before, fields)
        except LostRace as error:
            raise Conflict("Somebody else changed the policy in between: look again, and decide again.") from error
        return replace(thrown, update_time=written.update_time)

    def _write(self, before: Switch, fields: dict[str, object]) -> Any:  # noqa: ANN401  # the client's WriteResult
        if before.update_time is None:
            return self._document().create(fields)
        return self._document().update(fields, option=self._database.unchanged_since(before.update_time))

    def _document(self) -> Any:  # noqa: ANN401  # the client's reference type is untyped
        return self._database.collection(COLLECTION).document(self._bundle)


class _Stored(BaseModel):
    """The document, for whoever may have written it by hand."""

    model_config = ConfigDict(strict=True, extra="ignore")

    active: Version
    shadow: Version | None
    previous: list[Version]
    revision: int
    changed_at: datetime = Field(alias="changedAt")
    changed_by: str = Field(alias="changedBy")
    act: str
