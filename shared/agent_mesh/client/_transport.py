"""The one place where the client touches the network, behind a protocol of a single method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from agent_mesh.client._errors import ConnectionFailed, ConnectionTimedOut

if TYPE_CHECKING:  # urllib3 costs 60 ms to import: only a call pays them, never `--help`
    from urllib3 import PoolManager

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it goes out. `timeout_s` is the longest silence of the server."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Transport(Protocol):
    """Sends one request and returns its answer, whatever its status."""

    def send(self, request: Request) -> Reply:
        """Send once, follow no redirect; raise `ConnectionFailed` when there is no answer."""
        ...

    def close(self) -> None:
        """Let go of open connections."""
        ...


class PooledTransport:
    """HTTP through urllib3 with connections that are kept and shared by threads."""

    def __init__(self, connections: int = 32) -> None:
        """Keep up to `connections` open to each host."""
        self._connections = connections
        self._pool: PoolManager | None = None

    def send(self, request: Request) -> Reply:
        """Send once, follow no redirect; raise `ConnectionFailed` when there is no answer."""
        if not request.url.startswith(("http://", "https://")):
            raise ConnectionFailed(f"{request.url!r} is no http(s) address.")
        import urllib3
        from urllib3.exceptions import HTTPError, LocationValueError, ReadTimeoutError

        if self._pool is None:
            self._pool = urllib3.PoolManager(maxsize=self._connections, block=False)
        try:
            answer = self._pool.request(
                request.method,
                request.url,
                headers=request.headers,
                body=request.body,
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, request.timeout_s), read=request.timeout_s),
                retries=False,
                redirect=False,
            )
        except ReadTimeoutError as error:
            raise ConnectionTimedOut(f"{origin(request.url)} gave no answer in {request.timeout_s:g} s.") from error
        except LocationValueError as error:
            raise ConnectionFailed(f"{request.url!r} is no address of a server: {error}") from error
        except HTTPError as error:
            raise ConnectionFailed(f"{origin(request.url)} cannot be reached: {_cause(error)}.") from error
        return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)

    def close(self) -> None:
        """Let go of open connections."""
        if self._pool is not None:
            self._pool.clear()


class MockTransport:
    """Answers by a function of yours and keeps every request, for tests without a server."""

    def __init__(self, handler: Callable[[Request], Reply]) -> None:
        """Let `handler` answer; what it raises reaches the caller as if the network had failed so."""
        self._handler = handler
        self.requests: list[Request] = []

    def send(self, request: Request) -> Reply:
        """Return what the handler answers."""
        self.requests.append(request)
        return self._handler(request)

    def close(self) -> None:
        """Nothing is open."""


def origin(url: str) -> str:
    """Return scheme, host and port of a URL: what an error may show, without paths and queries."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _cause(error: Exception) -> str:
    """Return the words of the operating system where there are some, such as `Connection refused`."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    if isinstance(root, OSError) and root.strerror:
        return root.strerror
    return str(root) or type(root).__name__
