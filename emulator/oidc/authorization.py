"""The authorization code flow with PKCE, as accounts.google.com has it for web applications, for this machine alone.

Parameters and answers follow https://developers.google.com/identity/openid-connect/openid-connect, RFC 6749 sections
4.1 and 5.2, and RFC 7636. What Google knows of its clients the issuer does not: any client id is one, with any secret,
and codes go to addresses of this machine only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode, urlsplit

from emulator.httpd import Reply, Request, json_reply, text_reply
from emulator.oidc.account_page import account_page

AUTHORIZE_PATH: Final = "/o/oauth2/v2/auth"
CODE_SECONDS: Final = 60.0
_MOST_CODES: Final = 1000
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,190}")
_ADDRESS: Final = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
"""What may stand in a `Location`: `urlsplit` drops line ends, and would let an address bring headers of its own."""

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}", flags=re.ASCII)
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}", flags=re.ASCII)

SignIn = Callable[[str, str, Mapping[str, object]], str]
"""Makes the ID token of an account for a client, with more claims."""


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a code stands for."""

    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str
    email: str
    until: float


class Authorization:
    """Lets a person choose an account, and exchanges the code of that choice, once, for an ID token."""

    def __init__(self, usual: str, sign_in: SignIn, clock: Callable[[], float]) -> None:
        """Offer the ``usual`` account first. ``clock`` gives Unix seconds."""
        self._usual = usual
        self._sign_in = sign_in
        self._clock = clock
        self._lock = threading.Lock()
        self._grants: OrderedDict[str, _Grant] = OrderedDict()

    def authorize(self, request: Request) -> Reply:
        """Answer the browser: the page, or at once where ``prompt=none`` or an ``account`` says who.

        Nothing is sent to an address that is not of this machine.
        """
        asked = request.query
        redirect_uri = asked.get("redirect_uri", "")
        if not asked.get("client_id") or not _on_this_machine(redirect_uri):
            return text_reply("give a client_id, and a redirect_uri on this machine", HTTPStatus.BAD_REQUEST)
        fault = _fault(asked)
        if fault:
            return _back(asked, error="invalid_request", error_description=fault)
        if asked.get("cancel"):
            return _back(asked, error="access_denied")
        email = asked.get("account", "")
        if asked.get("prompt") == "none":
            email = asked.get("login_hint") or self._usual
        if not email:
            return account_page(AUTHORIZE_PATH, asked, self._usual)
        if not _EMAIL.fullmatch(email):
            return account_page(AUTHORIZE_PATH, asked, self._usual, f"{email[:100]} is not an e-mail address.")
        return _back(asked, code=self._issue(asked, email))

    def exchange(self, request: Request) -> Reply:
        """Answer the client's server: an ID token for a code, or an error. A code is gone with its first use."""
        asked = request.query
        with self._lock:
            grant = self._grants.pop(asked.get("code", ""), None)
        if not asked.get("client_secret"):
            return _refused("invalid_client", "give the client_secret", HTTPStatus.UNAUTHORIZED)
        if grant is None or grant.until <= self._clock():
            return _refused("invalid_grant", "the code is unknown, used or older than a minute")
        if (grant.client_id, grant.redirect_uri) != (asked.get("client_id"), asked.get("redirect_uri")):
            return _refused("invalid_grant", "the code was for another client or redirect_uri")
        if not _proves(asked.get("code_verifier", ""), grant.challenge):
            return _refused("invalid_grant", "the code_verifier is not the one of the code_challenge")
        claims = {"azp": grant.client_id} | ({"nonce": grant.nonce} if grant.nonce else {})
        answer = {
            "access_token": secrets.token_urlsafe(32),
            "id_token": self._sign_in(grant.client_id, grant.email, claims),
            "token_type": "Bearer",
            "expires_in": 3599,
            "scope": "openid email",
        }
        return json_reply(answer, Cache_Control="no-store")

    def _issue(self, asked: Mapping[str, str], email: str) -> str:
        code = secrets.token_urlsafe(32)
        grant = _Grant(
            asked["client_id"],
            asked["redirect_uri"],
            asked["code_challenge"],
            asked.get("nonce", ""),
            email,
            self._clock() + CODE_SECONDS,
        )
        with self._lock:
            self._grants[code] = grant
            while len(self._grants) > _MOST_CODES:
                self._grants.popitem(last=False)
        return code


def _fault(asked: Mapping[str, str]) -> str:
    """What of the request is wrong, for the client to read; empty if nothing is."""
    if asked.get("response_type") != "code":
        return "response_type has to be code"
    if "openid" not in asked.get("scope", "").split():
        return "scope has to have openid"
    if asked.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(asked.get("code_challenge", "")):
        return "PKCE is needed: a code_challenge with the method S256"
    return ""


def _on_this_machine(redirect_uri: str) -> bool:
    if not _ADDRESS.fullmatch(redirect_uri):
        return False
    try:
        target = urlsplit(redirect_uri)
        parts = (target.scheme, target.hostname in _LOOPBACK, target.port, target.username, target.fragment)
    except ValueError:
        return False
    scheme, local, port, user, fragment = parts
    return scheme == "http" and local and port is not None and user is None and not fragment


def _back(asked: Mapping[str, str], **answer: str) -> Reply:
    """Send the browser back to the client, with its state."""
    state = {"state": asked["state"]} if "state" in asked else {}
    target = asked["redirect_uri"]
    location = f"{target}{'&' if '?' in target else '?'}{urlencode({**answer, **state})}"
    headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Reply(HTTPStatus.FOUND, headers=headers)


def _proves(verifier: str, challenge: str) -> bool:
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(digest, challenge)


def _refused(error: str, why: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> Reply:
    return json_reply({"error": error, "error_description": why}, status, Cache_Control="no-store")
