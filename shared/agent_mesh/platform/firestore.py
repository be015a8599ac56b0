"""Firestore as the mesh uses it: one lazy client a process, commits guarded by `update_time`, no transactions.

A commit that is conditional on a document's `update_time` saves the two round trips of a transaction and never waits
for a lock; whoever loses reads again and decides again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from google.api_core import exceptions as google_errors
from google.cloud import firestore

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.logs import current_trace

_T = TypeVar("_T")
_RACE_LIMIT: Final = 16
_NO_INDEX: Final = "requires an index"


class LostRace(Exception):  # it is an event, not a fault: somebody else wrote first
    """A conditional write found the document changed, missing or already there. Read again and decide again."""


class Exists(LostRace):
    """A document that was to be created is there already."""


class Missing(LostRace):
    """A document that was to be updated is not there."""


class TracedClient(firestore.Client):
    """Tells a local Firestore which trace a call belongs to, so that it can say what each trace costs.

    `_rpc_metadata` is what the client sends with every call and reads anew for each: one more pair costs less than a
    microsecond. An interceptor would be the supported way, but slows a read down by some percent, and the client has
    no public door for a channel with one either. Of Firestore in production no use of the header is documented: it is
    not sent there, and the client is the one that Google publishes. Should a release rename the property, calls go on
    without a trace, and a test fails.
    """

    @property
    def _rpc_metadata(self) -> list[tuple[str, str]]:
        sent: list[tuple[str, str]] = super()._rpc_metadata
        trace = current_trace.get()
        return [*sent, ("traceparent", trace.traceparent)] if trace else sent


class FirestoreClient:
    """The process's Firestore client, created at its first use."""

    def __init__(self, project: str, database: str = "(default)") -> None:
        """Remember the project and the database; nothing is connected yet."""
        self._project = project
        self._database = database
        self._lock = threading.Lock()
        self._client: firestore.Client | None = None

    @property
    def client(self) -> firestore.Client:
        """The official client."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    kind = TracedClient if os.environ.get("FIRESTORE_EMULATOR_HOST") else firestore.Client
                    self._client = kind(project=self._project or None, database=self._database)
        return self._client

    def batch(self) -> firestore.WriteBatch:
        """Return an empty set of writes that is committed as one."""
        return self.client.batch()

    def unchanged_since(self, update_time: object) -> firestore.WriteOption:
        """Return the condition that a document was last written at `update_time`."""
        return self.client.write_option(last_update_time=update_time)

    def collection(self, name: str) -> firestore.CollectionReference:
        """Return a collection of the database."""
        return self.client.collection(name)


@contextmanager
def firestore_errors() -> Iterator[None]:
    """Turn the client's errors into ours: `LostRace` for a failed condition, `Unavailable` for an outage.

    A query whose index is not declared is nobody's race but a defect, and stays Google's error.
    """
    try:
        yield
    except google_errors.AlreadyExists as error:
        raise Exists(str(error)) from error
    except google_errors.NotFound as error:
        raise Missing(str(error)) from error
    except (google_errors.Aborted, google_errors.FailedPrecondition) as error:
        if _NO_INDEX in str(error):
            raise
        raise LostRace(str(error)) from error
    except (google_errors.ServerError, google_errors.RetryError, google_errors.TooManyRequests) as error:
        detail = "The database cannot be reached at the moment; nothing was lost, ask again."
        raise Unavailable(detail, retry_after_s=1) from error


def until_settled(step: Callable[[], _T]) -> _T:
    """Repeat read-decide-write `step` while others win its races; raise `Unavailable` after 16 lost ones."""
    for _ in range(_RACE_LIMIT):
        try:
            return step()
        except LostRace:
            continue
    detail = "Too many others are changing the same thing; ask again."
    raise Unavailable(detail, retry_after_s=1)
