"""The dashboard: everything that it is made of, wired once per process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import flask

from agent_mesh.contracts.problems import Forbidden
from agent_mesh.dashboard._cookies import SignedCookies
from agent_mesh.dashboard._explanation import Explanations
from agent_mesh.dashboard._live import SessionBlocks
from agent_mesh.dashboard._sessions import Sessions
from agent_mesh.dashboard._sign_in import SignIn
from agent_mesh.dashboard._static import StaticFiles
from agent_mesh.dashboard._story import Stories, Work
from agent_mesh.ledger.cosigned import CosignedStore
from agent_mesh.ledger.reader import LedgerReader
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.platform.app import Access
from agent_mesh.platform.client_socket import socket_of
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.oidc import Identity
from agent_mesh.platform.settings import Settings
from agent_mesh.relay.instance import RelayInstance
from agent_mesh.relay.presence import Patterns

_ORIGIN: Final = re.compile(r"https?://[^/?#]+")
_PATTERNS: Final = ("**", "mesh.**", "access.intent")
"""What a page may want to watch, the widest first."""


@dataclass(frozen=True)
class Viewer:
    """Who looks at the mesh, and until when (Unix seconds; None where each request has an ID token)."""

    identity: Identity
    groups: tuple[str, ...]
    until: int | None


class Dashboard:
    """The capability's public face: what its routes call."""

    def __init__(self, parts: FunctionParts) -> None:
        """Wire from `parts`; nothing connects yet."""
        settings, clock = parts.settings, parts.clock
        self.origin = origin_of(settings)
        cookies = SignedCookies(settings.session_keys, secure=self.https, clock=clock)
        self.sessions = Sessions(cookies, settings.session_seconds, clock)
        self.sign_in = SignIn(settings, self.origin, parts.verifier, cookies, clock)
        self.static = StaticFiles()
        self.ledger = LedgerReader(LedgerStore(parts.database), CosignedStore(parts.database))
        work = Work(parts)
        self.stories = Stories(self.ledger, work, clock)
        self.explanations = Explanations(parts, self.ledger, work)
        self.relay = RelayInstance(parts)
        self._settings = settings
        self._clock = clock

    @property
    def https(self) -> bool:
        """Whether browsers reach it over HTTPS: everywhere but on a developer's machine."""
        return self.origin.startswith("https:")

    @property
    def allowed(self) -> frozenset[str]:
        """The e-mails of those who may look."""
        return frozenset((*self._settings.operators, *self._settings.viewers))

    @property
    def access(self) -> Access:
        """Access for those who are signed in, or send an ID token for this function."""
        return Access.of(
            self.allowed,
            *self._settings.oidc_audiences,
            otherwise=lambda request: self.sessions.admit(request, self.allowed),
        )

    def is_stranger(self, request: flask.Request) -> bool:
        """Tell whether somebody is signed in who may not look."""
        try:
            self.sessions.admit(request, self.allowed)
        except Forbidden:
            return True
        return False

    def viewer(self, identity: Identity, request: flask.Request) -> Viewer:
        """Return who looks, as the lists have it now."""
        email = identity.email.casefold()
        lists = {"operators": self._settings.operators, "viewers": self._settings.viewers}
        groups = tuple(name for name, emails in lists.items() if email in {each.casefold() for each in emails})
        session = None if "Authorization" in request.headers else self.sessions.of(request)
        return Viewer(identity, groups, session.until if session else None)

    def topics(self, viewer: Viewer) -> list[str]:
        """Return what somebody may watch, as patterns; policy decides."""
        may_read = self.relay.permissions.readable(viewer.identity.email)
        return [pattern for pattern in _PATTERNS if may_read(pattern)]

    def watch(
        self, viewer: Viewer, patterns: Patterns, last_event_id: str | None, environ: dict[str, Any]
    ) -> SessionBlocks:
        """Return a live stream as `text/event-stream`; closing it frees what it holds.

        Raises `InvalidRequest`, `TopicDenied` and `Unavailable`, and nothing is open then.
        """
        email = viewer.identity.email
        self.relay.permissions.require_patterns(email, patterns)
        stream = self.relay.stream(email, patterns, last_event_id, socket_of(environ))
        return SessionBlocks(stream, viewer.until, self._clock)

    def elsewhere(self, request: flask.Request) -> str | None:
        """Return where a page of ours belongs that was asked for by another of our names; None if it is right here.

        Cookies and the issuer's way back are for one origin; every function also has Google's other names for it, and a
        developer's machine has two.
        """
        own = urlsplit(self.origin).netloc
        if not own or request.host == own or request.host not in self._other_names(own):
            return None
        return f"{self.origin}{quote(request.path)}{_query(request)}"

    def sign_in_elsewhere(self, request: flask.Request) -> str | None:
        """Return where to sign in: our origin, whatever we were called; None if it is right here.

        What a browser is given under another name it does not bring back to our origin.
        """
        if not self.origin or request.host == urlsplit(self.origin).netloc:
            return None
        query = _query(request)
        return f"{self.origin}{quote(request.path)}{query}{'&' if query else '?'}here=true"

    def _other_names(self, own: str) -> set[str]:
        loopback = {own.replace("127.0.0.1", "localhost"), own.replace("localhost", "127.0.0.1")}
        return loopback | {urlsplit(each).netloc for each in self._settings.oidc_audiences}


def _query(request: flask.Request) -> str:
    """Return the query as it was sent, from its question mark on; empty if there is none."""
    sent = request.query_string.decode("ascii", "ignore")
    return f"?{sent}" if sent else ""


def origin_of(settings: Settings) -> str:
    """Return the origin of the dashboard's pages; empty where nothing says it."""
    first = settings.oidc_audiences[0] if settings.oidc_audiences else ""
    return settings.dashboard_url or (first if _ORIGIN.fullmatch(first) else "")
