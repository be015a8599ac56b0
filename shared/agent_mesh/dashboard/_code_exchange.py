"""The issuer's token endpoint: a code, and the proof that it was ours to ask for, becomes an ID token."""

from __future__ import annotations

from functools import cached_property
from typing import Final
from urllib.parse import urlencode

import urllib3
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.logs import log

_TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=10.0)
_LONGEST_ANSWER_BYTES: Final = 64 * 1024
_HEADERS: Final = {
    "Accept": "application/json",
    "Connection": "close",
    "Content-Type": "application/x-www-form-urlencoded",
}
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class CodeRefused(Exception):
    """The issuer does not take the code: made up, used, too old, or of another client."""


class _Granted(BaseModel):
    """RFC 6749 section 5.1, of which only the ID token is wanted."""

    model_config = ConfigDict(extra="ignore")

    id_token: str = Field(min_length=1)


class _Refusal(BaseModel):
    """RFC 6749 section 5.2."""

    model_config = ConfigDict(extra="ignore")

    error: str = Field(max_length=100)


class CodeExchange:
    """Exchanges codes at one token endpoint, as one client."""

    def __init__(self, token_url: str, client_id: str, client_secret: str) -> None:
        """Nothing connects yet."""
        self._token_url = token_url
        self._client = {"client_id": client_id, "client_secret": client_secret}

    def id_token(self, code: str, redirect_uri: str, code_verifier: str) -> str:
        """Return the ID token, unverified.

        Raises:
            CodeRefused: the issuer refuses the code, or us; the log has its word for it.
            Unavailable: the issuer cannot be reached, or answers something else.
        """
        fields = {
            **self._client,
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": code_verifier,
        }
        status, body = self._post(fields)
        if status == _OK:
            try:
                return _Granted.model_validate_json(body).id_token
            except ValidationError:
                raise _unavailable("answers without an ID token") from None
        if status == _TOO_MANY or status >= _SERVER_ERROR:
            raise _unavailable(f"answers {status}")
        log("the issuer refused a code", status=status, reason=_reason(body))
        raise CodeRefused

    def _post(self, fields: dict[str, str]) -> tuple[int, bytes]:
        try:
            answer = self._http.request(
                "POST",
                self._token_url,
                body=urlencode(fields),
                headers=_HEADERS,
                redirect=False,
                preload_content=False,
            )
            try:
                return answer.status, answer.read(_LONGEST_ANSWER_BYTES)
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            raise _unavailable(f"cannot be reached ({type(error).__name__})") from None

    @cached_property
    def _http(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(timeout=_TIMEOUT, retries=False)


def _reason(body: bytes) -> str:
    try:
        return ascii(_Refusal.model_validate_json(body).error)
    except ValidationError:
        return "none was given"


def _unavailable(why: str) -> Unavailable:
    log("the issuer's token endpoint failed", level=40, reason=why)
    return Unavailable("The issuer of identities cannot be reached at the moment; try again.", retry_after_s=5)
