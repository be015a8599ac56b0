"""The socket behind a request, where the server shows it, and what a view returns that has used it up."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Final, TypeAlias
from wsgiref.types import StartResponse, WSGIEnvironment

import flask

_SOCKETS: Final = ("gunicorn.socket", "werkzeug.socket")

Environ: TypeAlias = dict[str, Any]


def socket_of(environ: Environ) -> socket.socket | None:
    """Return the client's socket, where the server shows it."""
    return next((environ[name] for name in _SOCKETS if name in environ), None)


class Finished(flask.Response):
    """What a view returns after its WebSocket has closed: nothing may be written any more.

    gunicorn takes `StopIteration` for the end of a connection; Werkzeug's own server wants an answer to discard.
    """

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "gunicorn.socket" in environ:
            raise StopIteration
        return super().__call__(environ, start_response)
