"""The parts that every function is wired from. One of each per process; nothing connects before its first use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from agent_mesh.platform.app import PUBLIC, Access, FunctionApp
from agent_mesh.platform.certificates import CertificateStore
from agent_mesh.platform.clock import Clock, SystemClock
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.oidc import TokenVerifier
from agent_mesh.platform.pubsub import Publisher, PubsubPublisher
from agent_mesh.platform.settings import Settings


@dataclass(frozen=True)
class FunctionParts:
    """Settings and the edges to the outside world, each of which a test may replace."""

    settings: Settings
    database: FirestoreClient
    publisher: Publisher
    verifier: TokenVerifier
    events: EventLog
    clock: Clock

    @classmethod
    def for_role(cls, role: str, settings: Settings) -> Self:
        """Return the real parts, as the environment describes them."""
        clock = SystemClock()
        publisher = PubsubPublisher()
        verifier = TokenVerifier(
            CertificateStore(settings.oidc_certs_url),
            issuers=[settings.oidc_issuer, settings.oidc_issuer.removeprefix("https://")],
            accept_removed_signature=settings.accept_removed_signature,
        )
        events = EventLog(publisher, settings.topic(settings.events_topic_id), role, clock)
        return cls(settings, FirestoreClient(settings.project, settings.database), publisher, verifier, events, clock)

    def app(self, role: str, description: str) -> FunctionApp:
        """Return the function's app with no routes but health and documentation."""
        return FunctionApp(role, description, self.settings, self.verifier, self.events)

    def caller_access(self, *groups: tuple[str, ...]) -> Access:
        """Return access for the e-mails in any of `groups`, whose tokens are for one of this function's base URIs."""
        return Access.of({email for group in groups for email in group}, *self.settings.oidc_audiences)

    def push_access(self, pushers: tuple[str, ...], audience: str, *, verify: bool) -> Access:
        """Return access for push subscriptions.

        `verify` is false only on a developer's machine; settings see to that.
        """
        if not verify:
            return PUBLIC
        return Access.of(pushers, *((audience,) if audience else self.settings.oidc_audiences))
