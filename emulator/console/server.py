"""The console: one page and its API on a loopback port, in the stack's own process."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from emulator.console.answers import API_ROOT, Problem
from emulator.console.page import page_file
from emulator.console.same_site import check_caller, check_host
from emulator.console.sources import Sources
from emulator.httpd import LoopbackServer, Reply, Request

if TYPE_CHECKING:
    from emulator.console.api import Api

_LARGEST_BODY: Final = 64 * 1024 * 1024
"""A snapshot comes back in one request."""


class Console:
    """Answers between its making and :meth:`close`."""

    def __init__(self, sources: Sources, port: int = 0) -> None:
        """Listen at once on the port (0 takes a free one)."""
        self._sources = sources
        self._lock = threading.Lock()
        self._api: Api | None = None
        self._closed = False
        self._server = LoopbackServer(self._handle, port, _LARGEST_BODY)

    @property
    def url(self) -> str:
        """Where the page is."""
        return self._server.url

    def close(self) -> None:
        """Stop listening, end all streams and free what they held."""
        self._server.close()
        with self._lock:
            self._closed = True
            if self._api is not None:
                self._api.close()

    def __enter__(self) -> Self:
        """Return itself; it listens since it was made."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()

    def _handle(self, request: Request) -> Reply:
        try:
            check_host(request, self._server.port)
            if not request.path.startswith(API_ROOT):
                return page_file(request)
            check_caller(request, self._server.port)
            return self._opened_api().handle(request)
        except Problem as problem:
            return problem.reply()

    def _opened_api(self) -> Api:
        """The API, made with its first request: Google's message classes take some tenths of a second to import."""
        with self._lock:
            if self._closed:
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the stack stops")
            if self._api is None:
                from emulator.console.api import Api

                self._api = Api(self._sources)
            return self._api
