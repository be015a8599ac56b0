"""Cookies that only this function can have written: signed, bound to one purpose, and over at a time that they name.

The names follow RFC 6265bis section 4.1.3.2: a browser takes `__Host-` only over HTTPS, for this host alone and for
all of its paths, so that no other host of the same site can plant one. On a developer's machine, without HTTPS, they
are plain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import flask
from itsdangerous import BadData, URLSafeSerializer

from agent_mesh.platform.clock import Clock

LONGEST_COOKIE: Final = 4000
_UNTIL: Final = "until"


class SignedCookies:
    """Writes and reads the cookies of one origin."""

    def __init__(self, keys: Sequence[str], *, secure: bool, clock: Clock) -> None:
        """Sign with the first key, accept all. Without a key nothing can be read, and nothing may be written."""
        self._oldest_first = list(reversed(keys))
        self._secure = secure
        self._clock = clock

    def name(self, purpose: str) -> str:
        """Return the name of the cookie for a purpose."""
        return f"__Host-mesh-{purpose}" if self._secure else f"mesh-{purpose}"

    def seal(self, purpose: str, values: Mapping[str, str], until: int) -> str:
        """Return the text of a cookie that is valid before `until` (Unix seconds)."""
        return str(self._serializer(purpose).dumps({**values, _UNTIL: until}))

    def open(self, purpose: str, text: str | None) -> tuple[dict[str, str], int] | None:
        """Return the values of a cookie and its end; None where it is none of ours, of another purpose, or over."""
        if not text or not self._oldest_first or len(text) > LONGEST_COOKIE or not text.isascii():
            return None
        try:
            values = self._serializer(purpose).loads(text)
        except BadData:
            return None
        until = values.pop(_UNTIL)
        return (values, until) if self._clock.now() < until else None

    def read(self, purpose: str, request: flask.Request) -> tuple[dict[str, str], int] | None:
        """Return the values of a request's cookie and its end, as `open` does."""
        return self.open(purpose, request.cookies.get(self.name(purpose)))

    def give(self, purpose: str, values: Mapping[str, str], until: int) -> None:
        """Let the answer to the request that is being served set a cookie."""
        text, seconds = self.seal(purpose, values, until), int(until - self._clock.now())
        self._answer_with(purpose, text, seconds)

    def take_back(self, purpose: str) -> None:
        """Let the answer to the request that is being served remove a cookie."""
        self._answer_with(purpose, "", 0)

    def _answer_with(self, purpose: str, text: str, seconds: int) -> None:
        @flask.after_this_request
        def with_cookie(response: flask.Response) -> flask.Response:
            response.set_cookie(
                self.name(purpose),
                text,
                max_age=seconds,
                path="/",
                secure=self._secure,
                httponly=True,
                samesite="Lax",  # the issuer sends the browser back from another site: Strict would lose the cookie
            )
            return response

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeSerializer(self._oldest_first, salt=f"agent-mesh.dashboard.{purpose}", signer_kwargs=how)
