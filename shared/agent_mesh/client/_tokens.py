"""Where the client's ID tokens come from."""

from __future__ import annotations

import json
from typing import Protocol
from urllib.parse import urlencode

from agent_mesh.client._errors import ConnectionFailed, TokenUnavailable
from agent_mesh.client._transport import Request, Transport
from agent_mesh.platform.id_tokens import IdTokenSource, NoIdToken
from agent_mesh.platform.impersonation import describe_own_credentials
from agent_mesh.platform.mint_faults import MintError

_TIMEOUT_S = 10.0


class TokenSource(Protocol):
    """Gives ID tokens for an audience; expected to keep them while they are good."""

    def token(self, audience: str) -> str:
        """Return an ID token for `audience`; raise `TokenUnavailable`."""
        ...


class GoogleTokens:
    """Tokens of the identity that this process has on Google Cloud, or of a service account it may impersonate."""

    def __init__(self, service_account: str = "") -> None:
        """Impersonate `service_account` when one is named: a person's own credentials cannot mint ID tokens."""
        self._source = IdTokenSource(target_service_account=service_account)

    def token(self, audience: str) -> str:
        """Return an ID token for `audience`; raise `TokenUnavailable` with Google's own reason."""
        return _from(self._source, audience)

    @staticmethod
    def credentials() -> str:
        """Return whose this machine's application-default credentials are; raise `TokenUnavailable`."""
        try:
            return describe_own_credentials()
        except MintError as error:
            raise TokenUnavailable(str(error), advice=error.advice) from error


class LocalTokens:
    """Tokens of the local stack's issuer, for any e-mail address one likes to be."""

    def __init__(self, token_url: str, email: str, transport: Transport) -> None:
        """Ask `token_url` for tokens of `email`."""
        self._url = token_url
        self._email = email
        self._transport = transport
        self._source = IdTokenSource(minter=self._mint)

    def token(self, audience: str) -> str:
        """Return an ID token for `audience`; raise `TokenUnavailable`."""
        return _from(self._source, audience)

    def _mint(self, audience: str) -> str:
        query = {"audience": audience, "email": self._email}
        request = Request("GET", f"{self._url}?{urlencode(query)}", timeout_s=_TIMEOUT_S)
        try:
            reply = self._transport.send(request)
        except ConnectionFailed as error:
            raise TokenUnavailable(f"The local issuer gives no token: {error}") from error
        try:
            answer = json.loads(reply.body)
            minted = answer.get("id_token") or answer.get("token")
        except (ValueError, AttributeError) as error:
            raise TokenUnavailable(f"The local issuer answered {reply.status} and no JSON object.") from error
        if not isinstance(minted, str):
            raise TokenUnavailable(f"The local issuer answered {reply.status} and no token.")
        return minted


def _from(source: IdTokenSource, audience: str) -> str:
    try:
        return source.token(audience)
    except NoIdToken as error:
        raise TokenUnavailable(error.reason, advice=error.advice) from error
