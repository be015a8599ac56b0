"""`RoleClient`: calls to any one function of the mesh, where no client has methods of its own for it."""

from __future__ import annotations

import time
from typing import Final, TypeVar

from pydantic import BaseModel

from agent_mesh.client._errors import RequestInvalid
from agent_mesh.client._exchange import Call, Exchange, clean_base_url
from agent_mesh.client._tokens import TokenSource
from agent_mesh.client._transport import PooledTransport, Transport
from agent_mesh.contracts.problems import FieldFault

POLICY: Final = "policy"
Answer = TypeVar("Answer", bound=BaseModel)


class RoleClient:
    """A caller of one function. GETs are repeated when there is no connection or the answer is 429 or 503."""

    def __init__(
        self,
        base_url: str,
        *,
        audience: str | None = None,
        tokens: TokenSource,
        transport: Transport | None = None,
        timeout_s: float = 300,
    ) -> None:
        """Speak to the function at `base_url`, whose tokens' audience is the same unless `audience` is given.

        Raises `RequestInvalid` when `base_url` is no http(s) URL.
        """
        try:
            url = clean_base_url(base_url)
        except ValueError as error:
            raise RequestInvalid([FieldFault(field="base_url", message=str(error))]) from error
        self._exchange = Exchange(url, audience or url, tokens, transport or PooledTransport(), timeout_s, time)

    def get(self, path: str, answer: type[Answer], **query: str | int | None) -> Answer:
        """Return the answer to a GET as a model."""
        return self._exchange.ask(Call("GET", path, query, repeatable=True), answer)

    def post(self, path: str, answer: type[Answer], body: BaseModel) -> Answer:
        """Return the answer to a POST as a model."""
        return self._exchange.ask(Call("POST", path, body=body), answer)
