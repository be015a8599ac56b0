"""A stream of Server-Sent Events over HTTP, read as the standard says.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from agent_mesh.client._errors import ConnectionFailed
from agent_mesh.client._transport import CONNECT_TIMEOUT_S, Reply, Request, origin

_PIECE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event. `event_id` is what `Last-Event-ID` brings back after it; `data` is empty if only that moved on."""

    kind: str
    data: str
    event_id: str


class StreamTransport(Protocol):
    """Opens a streaming answer."""

    def stream(self, request: Request) -> Iterator[bytes] | Reply:
        """Return the pieces of an answer with status 200 as they come, any other answer as a whole.

        Raises `ConnectionFailed`, also in between.
        """
        ...


class PooledStreams:
    """Streams through urllib3, a connection for each."""

    def stream(self, request: Request) -> Iterator[bytes] | Reply:
        """Return the pieces of an answer with status 200 as they come, any other answer as a whole."""
        import urllib3

        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=request.timeout_s)
        with _as_connection_failed(request.url):
            answer = urllib3.PoolManager(maxsize=1).request(
                request.method,
                request.url,
                headers=request.headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            if answer.status != 200:  # noqa: PLR2004  # anything else is no stream
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Reply(answer.status, headers, answer.read())
        return _pieces(answer, request.url)


def _pieces(answer: object, url: str) -> Iterator[bytes]:
    read = getattr(answer, "read1")  # noqa: B009  # urllib3's base class does not have it
    try:
        with _as_connection_failed(url):
            while piece := read(_PIECE_BYTES):
                yield piece
    finally:
        getattr(answer, "close")()  # noqa: B009  # as above


@contextmanager
def _as_connection_failed(url: str) -> Iterator[None]:
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (HTTPError, OSError) as error:
        raise ConnectionFailed(f"{origin(url)} cannot be reached, or the connection broke: {error}") from error


def server_events(pieces: Iterable[bytes], last_event_id: str = "") -> Iterator[ServerEvent]:
    """Yield the events of a stream, and events without data where only the id moves on; comments are left out."""
    fields: dict[str, str] = {}
    for line in _lines(pieces):
        if line:
            name, _, value = line.partition(":")
            _take(fields, name, value.removeprefix(" "))
            continue
        last_event_id = fields.get("id", last_event_id)
        if "data" in fields or "id" in fields:
            data = fields.get("data", "").removesuffix("\n")
            yield ServerEvent(fields.get("event") or "message", data, last_event_id)
        fields = {}


def _take(fields: dict[str, str], name: str, value: str) -> None:
    if name == "data":
        fields["data"] = fields.get("data", "") + value + "\n"
    elif name == "event" or (name == "id" and "\0" not in value):
        fields[name] = value


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield whole lines; what follows the last line end is no line. Each ends in LF, CR LF or CR."""
    rest = b""
    for piece in pieces:
        whole = rest + piece
        held = whole[-1:] == b"\r"  # the LF of a CR LF may be in the next piece
        *lines, rest = (whole[:-1] if held else whole).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest += b"\r" if held else b""
        for line in lines:
            yield line.decode(errors="replace")
