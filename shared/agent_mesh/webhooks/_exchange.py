"""One HTTP POST to an address that was chosen before: no redirect, no proxy, no second try, and an end in time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agent_mesh.webhooks._address import IPAddress
from agent_mesh.webhooks._target import CallbackTarget

if TYPE_CHECKING:
    from urllib3 import HTTPResponse
    from urllib3.connection import HTTPConnection

CONNECT_TIMEOUT_S = 5.0
TOTAL_TIMEOUT_S = 10.0
MAX_RESPONSE_BYTES = 64 * 1024


class ExchangeError(Exception):
    """No status line came back: refused, reset, not trusted, or too slow."""


def post(
    target: CallbackTarget, address: IPAddress, headers: Mapping[str, str], body: bytes, tls: ssl.SSLContext
) -> int:
    """POST to `target` at `address` and return the status; the name in the certificate must be the target's host.

    Raises:
        ExchangeError: no status within 5 s to connect and 10 s in all.
    """
    from urllib3.exceptions import HTTPError  # 56 ms of CPU at import, for the few who call back

    ends_at = time.monotonic() + TOTAL_TIMEOUT_S
    connection = _connection(target, address, tls)
    try:
        connection.connect()
        with _cut_at(ends_at, connection.sock):
            connection.request("POST", target.path, body, headers, preload_content=False, decode_content=False)
            response = connection.getresponse()
            if time.monotonic() >= ends_at:
                raise TimeoutError  # http.client takes headers that were cut off for complete ones
            _drain(response)
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        late = time.monotonic() >= ends_at
        raise ExchangeError(f"no answer within {TOTAL_TIMEOUT_S:.0f} s" if late else type(error).__name__) from error
    else:
        return response.status
    finally:
        connection.close()


def _connection(target: CallbackTarget, address: IPAddress, tls: ssl.SSLContext) -> HTTPConnection:
    from urllib3.connection import HTTPConnection, HTTPSConnection

    if target.scheme == "http":
        return HTTPConnection(str(address), target.port, timeout=CONNECT_TIMEOUT_S)
    return HTTPSConnection(
        str(address), target.port, timeout=CONNECT_TIMEOUT_S, server_hostname=target.host, ssl_context=tls
    )


@contextlib.contextmanager
def _cut_at(ends_at: float, connected: socket.socket | None) -> Iterator[None]:
    """Shut the socket at `ends_at` (monotonic seconds): its own timeout begins anew with every byte of a slow one."""
    if connected is None:
        raise ExchangeError("not connected")
    # Not SSLSocket.shutdown: that one first forgets its TLS, and a thread that is sending would go on in plain text.
    watchdog = threading.Timer(max(ends_at - time.monotonic(), 0.0), _shut, [connected])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        watchdog.join()


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _drain(response: HTTPResponse) -> None:
    """Read a little of the body, so that an orderly receiver is not cut off; the status has said everything."""
    from urllib3.exceptions import HTTPError

    with contextlib.suppress(HTTPError, http.client.HTTPException, OSError, ValueError):
        response.read(MAX_RESPONSE_BYTES, decode_content=False)
