"""Sign-in: OpenID Connect's authorization code flow with PKCE (RFC 7636), state and nonce, of a server with a secret.

Between the way out and the way back only the browser remembers anything: a signed cookie with a random state and where
the person wanted to go. The nonce and the PKCE verifier derive from that state with our key, so that they never leave
this server before they are needed, and a code that was made for somebody else's sign-in proves nothing here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import flask

from agent_mesh.contracts.problems import Unauthenticated, Unavailable
from agent_mesh.dashboard._code_exchange import CodeExchange, CodeRefused
from agent_mesh.dashboard._cookies import SignedCookies
from agent_mesh.platform.clock import Clock
from agent_mesh.platform.oidc import Identity, TokenVerifier
from agent_mesh.platform.settings import Settings

CALLBACK_PATH: Final = "/auth/callback"
HOME: Final = "/"
ATTEMPT_SECONDS: Final = 600
"""How long somebody may take at the issuer's page."""

_PURPOSE: Final = "sign-in"
_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}", flags=re.ASCII)
_NOT_A_PAGE: Final = ("/auth/", "/api/")


class NotSignedIn(Exception):
    """A sign-in that came to nothing; the text is for the person in front of the browser."""


@dataclass(frozen=True)
class SignedIn:
    """Who came back from the issuer, and to which path of ours."""

    identity: Identity
    destination: str


def safe_destination(path: str) -> str:
    """Return a path of this origin's pages as it is, and the start page for whatever else somebody asks for."""
    return path if _PATH.fullmatch(path) and not path.startswith(_NOT_A_PAGE) else HOME


class SignIn:
    """Sends browsers to the issuer and takes them back."""

    def __init__(
        self, settings: Settings, origin: str, verifier: TokenVerifier, cookies: SignedCookies, clock: Clock
    ) -> None:
        """Wire for the dashboard at `origin`; nothing connects yet."""
        self._settings = settings
        self._redirect_uri = origin + CALLBACK_PATH
        self._verifier = verifier
        self._cookies = cookies
        self._clock = clock
        self._exchange = CodeExchange(
            settings.sign_in_token_url, settings.sign_in_client_id, settings.sign_in_client_secret
        )
        self._possible = bool(
            origin and settings.sign_in_client_id and settings.sign_in_client_secret and settings.session_keys
        )

    def begin(self, destination: str, wishes: dict[str, str]) -> str:
        """Return the issuer's address for this browser, which the answer makes remember the attempt.

        `wishes` are the issuer's own `prompt` and `login_hint`. Raises `Unavailable` where nobody can sign in yet.
        """
        if not self._possible:
            missing = "SIGN_IN_CLIENT_ID, SIGN_IN_CLIENT_SECRET, SESSION_KEYS and an origin"
            raise Unavailable(f"Sign-in is not set up: the dashboard needs {missing}; see docs/deploy.md.")
        state = secrets.token_urlsafe(32)
        values = {"state": state, "next": safe_destination(destination)}
        self._cookies.give(_PURPOSE, values, int(self._clock.now()) + ATTEMPT_SECONDS)
        challenge = hashlib.sha256(self._derived("verifier", state).encode()).digest()
        asked = {
            "client_id": self._settings.sign_in_client_id,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "scope": "openid email",
            "state": state,
            "nonce": self._derived("nonce", state),
            "code_challenge": _base64url(challenge),
            "code_challenge_method": "S256",
            **wishes,
        }
        return f"{self._settings.sign_in_url}?{urlencode(asked)}"

    def finish(self, request: flask.Request, *, state: str, code: str, error: str) -> SignedIn:
        """Return who has signed in; the attempt is over, however it ends.

        Raises:
            NotSignedIn: this browser did not begin it, the person declined, or the issuer refuses the code.
            Unavailable: the issuer cannot be reached; the person may try again.
        """
        attempt = self._cookies.read(_PURPOSE, request)
        if attempt is None or not hmac.compare_digest(attempt[0]["state"].encode(), state.encode(errors="replace")):
            raise NotSignedIn("This browser began no such sign-in, or it took longer than ten minutes.")
        self._cookies.take_back(_PURPOSE)
        if error == "access_denied":
            raise NotSignedIn("You declined, so nobody is signed in.")
        if error or not code:
            raise NotSignedIn("The issuer did not let you sign in.")
        return SignedIn(self._proven(code, state), attempt[0]["next"])

    def _proven(self, code: str, state: str) -> Identity:
        try:
            token = self._exchange.id_token(code, self._redirect_uri, self._derived("verifier", state))
            nonce = self._derived("nonce", state)
            return self._verifier.verify_sign_in(token, self._settings.sign_in_client_id, nonce)
        except (CodeRefused, Unauthenticated):
            raise NotSignedIn("The issuer's answer was not valid any more; it can be used once.") from None

    def _derived(self, purpose: str, state: str) -> str:
        """Return 43 characters that only we can tell from the state: as many as a PKCE verifier has at least."""
        key = self._settings.session_keys[0].encode()
        return _base64url(hmac.digest(key, f"agent-mesh.dashboard.{purpose}:{state}".encode(), "sha256"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
