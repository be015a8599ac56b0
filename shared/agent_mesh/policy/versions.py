"""The `policy_versions` collection: bundles that passed their rehearsal, by the hash of what they decide.

What is read back is trusted for its hash alone: a document whose content has another hash than its id is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.firestore import FirestoreClient, firestore_errors
from agent_mesh.policy.bundles import Bundle
from agent_mesh.policy.errors import BundleRefused

COLLECTION: Final = "policy_versions"
BUNDLE_LIMIT_BYTES: Final = 900_000
"""Largest bundle as JSON: Firestore takes documents of 1 MiB."""

_SUMMARY: Final = ["release", "testCount", "uploadedAt", "uploadedBy", "sizeBytes"]
_READ_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class StoredVersion:
    """What there is to know about a version without its rules. Times are aware UTC."""

    version: str
    release: str
    test_count: int
    uploaded_at: datetime
    uploaded_by: str
    size_bytes: int


class PolicyVersions:
    """Reads and adds versions; none is ever changed but in its tests."""

    def __init__(self, database: FirestoreClient, clock: Clock) -> None:
        """Nothing is connected yet."""
        self._database = database
        self._clock = clock

    def put(self, bundle: Bundle, test_count: int, by: str) -> StoredVersion:
        """Store a bundle that passed `test_count` tests; the same rules with other tests keep their version.

        Raises `BundleRefused` if it is larger than a document may be.
        """
        text = bundle.model_dump_json()
        size = len(text.encode())
        if size > BUNDLE_LIMIT_BYTES:
            raise BundleRefused(f"The bundle is {size} bytes as JSON; at most {BUNDLE_LIMIT_BYTES}.")
        stored = StoredVersion(bundle.version, bundle.manifest.release, test_count, moment(self._clock.now()), by, size)
        fields = {
            "release": stored.release,
            "testCount": stored.test_count,
            "uploadedAt": stored.uploaded_at,
            "uploadedBy": stored.uploaded_by,
            "sizeBytes": stored.size_bytes,
            "bundle": text,
        }
        with firestore_errors():
            self._document(bundle.version).set(fields)
        return stored

    def summary(self, version: str) -> StoredVersion | None:
        """Return what is known about a version, None if it is not stored."""
        with firestore_errors():
            snapshot = self._document(version).get(_SUMMARY, timeout=_READ_TIMEOUT_S)
        return _stored(snapshot) if snapshot.exists else None

    def bundle(self, version: str) -> Bundle | None:
        """Return a version's bundle, None if it is not stored; raise `BundleRefused` if it is not what its id says."""
        with firestore_errors():
            snapshot = self._document(version).get(["bundle"], timeout=_READ_TIMEOUT_S)
        if not snapshot.exists:
            return None
        try:
            bundle = Bundle.model_validate_json(snapshot.get("bundle"))
        except (ValidationError, KeyError, TypeError) as error:
            raise BundleRefused(f"Version {version} is stored as something that is no bundle.") from error
        if bundle.version != version:
            raise BundleRefused(f"What is stored as {version} has the hash {bundle.version}.")
        return bundle

    def newest(self, limit: int) -> list[StoredVersion]:
        """Return at most `limit` versions, the latest upload first."""
        query = self._database.collection(COLLECTION).order_by("uploadedAt", direction="DESCENDING").limit(limit)
        with firestore_errors():
            return [_stored(each) for each in query.select(_SUMMARY).get()]

    def _document(self, version: str) -> Any:  # noqa: ANN401  # the client's reference type is untyped
        return self._database.collection(COLLECTION).document(version.removeprefix("sha256:"))


def _stored(snapshot: Any) -> StoredVersion:  # noqa: ANN401  # the client's snapshot type is untyped
    fields = snapshot.to_dict() or {}
    return StoredVersion(
        version=f"sha256:{snapshot.id}",
        release=fields["release"],
        test_count=fields["testCount"],
        uploaded_at=fields["uploadedAt"],
        uploaded_by=fields["uploadedBy"],
        size_bytes=fields["sizeBytes"],
    )
