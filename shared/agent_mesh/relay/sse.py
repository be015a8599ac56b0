"""The stream as `text/event-stream`: https://html.spec.whatwg.org/multipage/server-sent-events.html.

Messages are events without a name, as `EventSource.onmessage` takes them, and as the contract wants them. What is ours
has a name: `gap` and `end`. A block with an `id:` and no data moves `Last-Event-ID` on and fires nothing.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final, Protocol

from agent_mesh.contracts.values import to_json
from agent_mesh.relay.connections import Connection
from agent_mesh.relay.messages import chunk_of
from agent_mesh.relay.stream import Delivery, End, Gap, Heartbeat, StreamEvent

CONTENT_TYPE: Final = "text/event-stream"
RECONNECT_MS: Final = 1000

_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def comment(text: str) -> str:
    """Return a block that readers skip: a sign of life."""
    return "".join(f": {line}\n" for line in _LINE_END.split(text)) + "\n"


def block(
    *, data: str | None = None, event: str | None = None, event_id: str | None = None, retry_ms: int | None = None
) -> str:
    """Return one block of the stream. Line ends in `data` are told as line feeds, as the format has no other."""
    lines = []
    if retry_ms is not None:
        lines.append(f"retry: {retry_ms}")
    if event_id is not None:
        lines.append(f"id: {_one_line(event_id)}")
    if event is not None:
        lines.append(f"event: {_one_line(event)}")
    if data is not None:
        lines += [f"data: {line}" for line in _LINE_END.split(data)]
    return "\n".join(lines) + "\n\n"


class Batches(Protocol):
    """A stream whose events come together where they are ready together."""

    def batches(self) -> Iterator[Sequence[StreamEvent]]:
        """Yield what is ready at once."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class EventBlocks:
    """A stream's bytes: what is ready at once is one piece, and the first tells when to connect again."""

    def __init__(self, stream: Batches) -> None:
        """Format this stream; closing it closes the stream."""
        self._stream = stream
        self._pieces = formatted(stream.batches())

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Close the stream, also where nothing was read of it."""
        self._pieces.close()
        self._stream.close()


def formatted(batches: Iterable[Sequence[StreamEvent]]) -> Generator[bytes, None, None]:
    """Yield a piece for each batch; the first tells when to connect again."""
    first = block(retry_ms=RECONNECT_MS).encode()
    for batch in batches:
        yield first + b"".join(map(format_event, batch))
        first = b""
    if first:
        yield first


class ChunkWriter:
    """Writes deliveries as chunks of HTTP/1.1 (RFC 9112 section 7.1), between those that the server writes."""

    def __init__(self, connection: Connection) -> None:
        """Write on this connection."""
        self._connection = connection

    def send(self, deliveries: Sequence[Delivery]) -> bytes | None:
        """Write without waiting; return what could not be written, None if it was nothing at all."""
        first = deliveries[0]
        if len(deliveries) == 1 and first.cursor == first.message.message_id:
            chunk = first.message.chunk
        else:
            chunk = chunk_of(b"".join(map(_delivered, deliveries)))
        try:
            sent = self._connection.socket.send(chunk, socket.MSG_DONTWAIT)
        except OSError:  # nothing fits, or the reader has gone: its own thread finds out
            return None
        return chunk[sent:]

    def finish(self, rest: bytes) -> None:
        """Write the rest of a chunk, however long it takes; raise `OSError` if the reader has gone."""
        self._connection.writing_since = time.monotonic()
        self._connection.socket.sendall(rest)
        self._connection.writing_since = None


def _delivered(delivery: Delivery) -> bytes:
    message = delivery.message
    if delivery.cursor == message.message_id:
        return message.event
    return b"id: " + delivery.cursor.encode() + b"\n" + message.block


def format_event(event: StreamEvent) -> bytes:
    """Return the block of one event."""
    match event:
        case Delivery():
            return _delivered(event)
        case Gap(topic, reason):
            return block(data=to_json({"topic": topic, "reason": reason.value}), event="gap").encode()
        case Heartbeat(cursor):
            return (comment("") if cursor is None else comment("") + block(event_id=cursor)).encode()
        case End(reason):
            return block(data=to_json({"reason": reason.value}), event="end").encode()


def _one_line(value: str) -> str:
    """Refuse what would break out of its line; readers ignore an id with a NUL."""
    if _LINE_END.search(value) or "\0" in value:
        raise ValueError(f"{value!r} has a line end or NUL, which an id or an event's name cannot have")
    return value
