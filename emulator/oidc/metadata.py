"""The metadata server of one service account, enough for ``google.oauth2.id_token.fetch_id_token``.

The paths and the ``Metadata-Flavor`` header follow
https://cloud.google.com/compute/docs/metadata/overview. A client finds it through
``GCE_METADATA_HOST`` and ``GCE_METADATA_IP``.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Self

from emulator.httpd import LoopbackServer, Reply, Request, json_reply, text_reply

_ROOT: Final = "/computeMetadata/v1"
_FLAVOR: Final = {"Metadata-Flavor": "Google"}
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)

Mint = Callable[[str, str], str]


class MetadataServer:
    """Answers as the metadata server of an instance that runs as ``email``."""

    def __init__(self, project: str, email: str, mint: Mint, port: int = 0) -> None:
        """Listen at once; ``mint(audience, email)`` makes the ID tokens."""
        self._project = project
        self._email = email
        self._mint = mint
        self._server = LoopbackServer(self._handle, port)

    @property
    def address(self) -> str:
        """``host:port``, the value of GCE_METADATA_HOST and GCE_METADATA_IP."""
        return self._server.url.removeprefix("http://")

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
        if request.path.rstrip("/") != "" and request.headers.get("metadata-flavor") != "Google":
            reply = text_reply("Missing Metadata-Flavor:Google header.", HTTPStatus.FORBIDDEN)
        else:
            reply = self._reply(request)
        return Reply(reply.status, reply.body, reply.content_type, {**reply.headers, **_FLAVOR})

    def _reply(self, request: Request) -> Reply:
        path = request.path.rstrip("/").removeprefix(_ROOT)
        plain = {
            "": "computeMetadata/\n",
            "/project/project-id": self._project,
            "/project/numeric-project-id": "1",
            "/universe/universe-domain": "googleapis.com",
            "/instance/region": "projects/1/regions/local",
            "/instance/service-accounts": f"default/\n{self._email}/\n",
        }
        if path in plain:
            return Reply(HTTPStatus.OK, plain[path].encode(), "application/text")
        for account in ("default", self._email):
            below = f"/instance/service-accounts/{account}"
            if path == below or path.startswith(f"{below}/"):
                return self._account(path.removeprefix(below), request)
        return text_reply(f"no metadata at {request.path}", HTTPStatus.NOT_FOUND)

    def _account(self, path: str, request: Request) -> Reply:
        if path == "/identity":
            audience = request.query.get("audience")
            if not audience:
                return text_reply("non-empty audience parameter required", HTTPStatus.BAD_REQUEST)
            return Reply(HTTPStatus.OK, self._mint(audience, self._email).encode(), "text/html")
        known: dict[str, Reply] = {
            "": json_reply({"aliases": ["default"], "email": self._email, "scopes": _SCOPES}),
            "/email": Reply(HTTPStatus.OK, self._email.encode(), "application/text"),
            "/scopes": Reply(HTTPStatus.OK, "\n".join(_SCOPES).encode(), "application/text"),
            "/token": json_reply({"access_token": "local", "expires_in": 3599, "token_type": "Bearer"}),
        }
        return known.get(path) or text_reply(f"no metadata at {request.path}", HTTPStatus.NOT_FOUND)
