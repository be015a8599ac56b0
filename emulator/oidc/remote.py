"""Tokens of an issuer that runs in another process."""

from __future__ import annotations

from http import HTTPStatus

import urllib3

from emulator.delivery.push import Tokens
from emulator.errors import StartError


def remote_tokens(token_url: str) -> Tokens:
    """Mint over HTTP from a local issuer. The call raises StartError when it refuses."""
    http = urllib3.PoolManager(retries=3)

    def mint(audience: str, email: str) -> str:
        fields = {"audience": audience, "email": email}
        response = http.request("GET", token_url, fields=fields, timeout=5.0)
        if response.status != HTTPStatus.OK:
            raise StartError(f"{token_url} answered {response.status} instead of a token")
        return str(response.json()["id_token"])

    return mint
