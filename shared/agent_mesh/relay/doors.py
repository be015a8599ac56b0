"""How a browser comes in: by a ticket where it cannot send a header, from origins that are allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import flask

from agent_mesh.platform.app import FunctionApp
from agent_mesh.platform.oidc import Identity
from agent_mesh.relay.tickets import Tickets
from agent_mesh.relay.topics import parse_patterns

_ALLOWED_HEADERS: Final = "Authorization, Content-Type, Last-Event-ID"
_REMEMBERED_SECONDS: Final = "600"


def by_ticket(tickets: Tickets) -> Callable[[flask.Request], Identity | None]:
    """Return what tells who a request is by the `ticket` in its query, which is used up."""

    def bearer(request: flask.Request) -> Identity | None:
        ticket = request.args.get("ticket")
        if ticket is None:
            return None
        redeemed = tickets.redeem(ticket, parse_patterns(request.args.getlist("topic")))
        return Identity(email=redeemed.identity, subject="")

    return bearer


def allow_origins(app: FunctionApp, origins: Collection[str], paths: Collection[str]) -> None:
    """Let pages of these origins call these paths (https://fetch.spec.whatwg.org/#http-cors-protocol).

    Call it before the routes are declared: the answer to a preflight, which carries no token, must come first.
    """
    allowed = frozenset(origins)
    if not allowed:
        return
    for path in paths:
        app.flask.add_url_rule(path, f"preflight {path}", _preflight, methods=["OPTIONS"])

    @app.flask.after_request
    def allow(response: flask.Response) -> flask.Response:
        origin = flask.request.headers.get("Origin", "")
        if flask.request.path in paths:
            response.vary.add("Origin")
            if origin in allowed:
                response.headers["Access-Control-Allow-Origin"] = origin
        return response


def _preflight() -> flask.Response:
    headers = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
        "Access-Control-Max-Age": _REMEMBERED_SECONDS,
    }
    return flask.Response(status=204, headers=headers)
