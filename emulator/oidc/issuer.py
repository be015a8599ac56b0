"""The issuer: publishes its certificate, mints ID tokens for anyone on this machine, and lets people sign in.

The shape of a token and of the certificate document follow
https://developers.google.com/identity/openid-connect/openid-connect and
https://www.googleapis.com/oauth2/v1/certs.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, Self

from emulator.httpd import LoopbackServer, Reply, Request, json_reply, text_reply
from emulator.oidc.authorization import AUTHORIZE_PATH, Authorization
from emulator.oidc.keys import SigningKey

CERTS_PATH: Final = "/oauth2/v1/certs"
MINT_PATH: Final = "/token"
LIFETIME_SECONDS: Final = 3600
_CERTS_MAX_AGE: Final = 3600
_WHOLE_SECONDS: Final = re.compile(r"-?\d{1,10}", flags=re.ASCII)


def claims(issuer: str, audience: str, email: str, issued_at: int, expires_in: int) -> dict[str, object]:
    """The claims of a service account's ID token. Times are Unix seconds."""
    subject = str(int.from_bytes(hashlib.sha256(email.encode()).digest()[:8]))
    return {
        "aud": audience,
        "azp": subject,
        "email": email,
        "email_verified": True,
        "exp": issued_at + expires_in,
        "iat": issued_at,
        "iss": issuer,
        "sub": subject,
    }


class Issuer:
    """A local issuer on one port. Every token names ``url`` as its issuer."""

    def __init__(
        self,
        key: SigningKey,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        usual: str = "developer@example.com",
    ) -> None:
        """Listen at once on the port (0 takes a free one). Who signs in is offered the ``usual`` account first."""
        self._key = key
        self._clock = clock
        self._authorization = Authorization(usual, self._sign_in, clock)
        self._server = LoopbackServer(self._handle, port)

    @property
    def url(self) -> str:
        """The issuer's name, which is the ``iss`` of its tokens."""
        return self._server.url

    @property
    def certs_url(self) -> str:
        """Where its certificate is, in Google's ``{kid: PEM}`` format."""
        return self.url + CERTS_PATH

    @property
    def token_url(self) -> str:
        """Where it mints: ``?audience=&email=``, optional ``expires_in`` and ``format=text``."""
        return self.url + MINT_PATH

    @property
    def authorize_url(self) -> str:
        """Where a browser signs in."""
        return self.url + AUTHORIZE_PATH

    def mint(self, audience: str, email: str, expires_in: int = LIFETIME_SECONDS) -> str:
        """An ID token of this account for this audience; a negative lifetime is an expired one."""
        return self._key.sign(claims(self.url, audience, email, int(self._clock()), expires_in))

    def _sign_in(self, client_id: str, email: str, more: Mapping[str, object]) -> str:
        return self._key.sign(claims(self.url, client_id, email, int(self._clock()), LIFETIME_SECONDS) | dict(more))

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def __enter__(self) -> Self:
        """Return itself; it listens since it was made."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()

    def _handle(self, request: Request) -> Reply:
        if request.path == CERTS_PATH:
            age = f"public, max-age={_CERTS_MAX_AGE}, must-revalidate, no-transform"
            return json_reply({self._key.key_id: self._key.certificate}, Cache_Control=age)
        if request.path == AUTHORIZE_PATH:
            return self._authorization.authorize(request)
        if request.path == MINT_PATH and "grant_type" in request.query:
            return self._grant(request)
        if request.path == MINT_PATH:
            return self._token(request)
        if request.path == "/healthz":
            return text_reply("ok")
        return text_reply(f"the issuer has no {request.path}", HTTPStatus.NOT_FOUND)

    def _grant(self, request: Request) -> Reply:
        if request.method != "POST" or request.query["grant_type"] != "authorization_code":
            asked = {"error": "unsupported_grant_type", "error_description": "POST grant_type=authorization_code"}
            return json_reply(asked, HTTPStatus.BAD_REQUEST)
        return self._authorization.exchange(request)

    def _token(self, request: Request) -> Reply:
        audience, email = request.query.get("audience", ""), request.query.get("email", "")
        seconds = request.query.get("expires_in", str(LIFETIME_SECONDS))
        if not audience or not email or not _WHOLE_SECONDS.fullmatch(seconds):
            asked = "give audience, email and optionally expires_in (whole seconds)"
            return text_reply(asked, HTTPStatus.BAD_REQUEST)
        token = self.mint(audience, email, int(seconds))
        if request.query.get("format") == "text":
            return text_reply(token)
        answer = {"id_token": token, "token_type": "Bearer", "expires_in": int(seconds)}
        return json_reply(answer, Cache_Control="no-store")
