"""Who is signed in: a signed cookie that names the person, and the lists that say each time whether that is enough."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import flask

from agent_mesh.contracts.problems import Forbidden
from agent_mesh.dashboard._cookies import SignedCookies
from agent_mesh.platform.clock import Clock
from agent_mesh.platform.oidc import Identity, authorize

_PURPOSE: Final = "session"
_OWN_PAGES: Final = frozenset({"same-origin", "none"})
"""What `Sec-Fetch-Site` says of the page's own requests, and of those that a person begins."""


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in before `until` (Unix seconds)."""

    identity: Identity
    until: int


class Sessions:
    """The sessions of the dashboard. Nothing is stored: a session is its cookie."""

    def __init__(self, cookies: SignedCookies, lifetime_s: float, clock: Clock) -> None:
        """Let each last for `lifetime_s`."""
        self._cookies = cookies
        self._lifetime_s = lifetime_s
        self._clock = clock

    def begin(self, identity: Identity) -> None:
        """Sign somebody in with the answer to this request."""
        until = int(self._clock.now() + self._lifetime_s)
        self._cookies.give(_PURPOSE, {"email": identity.email, "sub": identity.subject}, until)

    def end(self) -> None:
        """Sign out whoever made this request."""
        self._cookies.take_back(_PURPOSE)

    def of(self, request: flask.Request) -> Session | None:
        """Return who is signed in; None where nobody is, or another site's page has made the request."""
        if request.headers.get("Sec-Fetch-Site", "none") not in _OWN_PAGES:
            return None
        found = self._cookies.read(_PURPOSE, request)
        if found is None:
            return None
        values, until = found
        return Session(Identity(email=values["email"], subject=values["sub"]), until)

    def admit(self, request: flask.Request, allowed: Collection[str]) -> Identity | None:
        """Return who is signed in, if that person may come in; None where nobody is.

        Raises:
            Forbidden: somebody is, and is not (or no longer) in the lists.
        """
        session = self.of(request)
        if session is None:
            return None
        try:
            authorize(session.identity, allowed)
        except Forbidden as refused:
            detail = f"{session.identity.email} may not see this mesh; ask its operators to add you to its viewers."
            raise Forbidden(detail) from refused
        return session.identity
