"""Kept-alive connections to push endpoints."""

from __future__ import annotations

import time
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection

_MOST_IDLE_SECONDS: Final = 1.0  # gunicorn, under every function here, closes after 2
_MOST_ENDPOINTS: Final = 100  # urllib3 keeps connections to 10 hosts unless told otherwise


class _Connection(HTTPConnection):
    """Connects anew rather than use a connection that its server may be closing: that would cost an attempt."""

    _used = 0.0

    def request(self, *given: Any, **named: Any) -> None:  # noqa: ANN401  # as urllib3 calls it
        now = time.monotonic()
        if now - self._used > _MOST_IDLE_SECONDS:
            self.close()
        self._used = now
        super().request(*given, **named)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


def pooled(connections: int) -> urllib3.PoolManager:
    """So many connections to each endpoint."""
    http = urllib3.PoolManager(num_pools=_MOST_ENDPOINTS, maxsize=connections, retries=False)
    http.pool_classes_by_scheme = {"http": _Pool, "https": urllib3.HTTPSConnectionPool}
    return http
