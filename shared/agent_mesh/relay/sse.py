"""The stream as `text/event-stream`: https://html.spec.whatwg.org/multipage/server-sent-events.html.

Messages are events without a name, as `EventSource.onmessage` takes them, and as the contract wants them. What is ours
has a name: `gap` and `end`. A block with an `id:` and no data moves `Last-Event-ID` on and fires nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from agent_mesh.contracts.values import to_json
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


def formatted(events: Iterable[StreamEvent]) -> Iterator[bytes]:
    """Yield a stream's bytes, block by block; the first tells when to connect again."""
    yield block(retry_ms=RECONNECT_MS).encode()
    for event in events:
        yield format_event(event).encode()


def format_event(event: StreamEvent) -> str:
    """Return the block of one event."""
    match event:
        case Delivery(message, cursor):
            return block(data=message.data, event_id=cursor)
        case Gap(topic, reason):
            return block(data=to_json({"topic": topic, "reason": reason.value}), event="gap")
        case Heartbeat(cursor):
            return comment("") if cursor is None else comment("") + block(event_id=cursor)
        case End(reason):
            return block(data=to_json({"reason": reason.value}), event="end")


def _one_line(value: str) -> str:
    """Refuse what would break out of its line; readers ignore an id with a NUL."""
    if _LINE_END.search(value) or "\0" in value:
        raise ValueError(f"{value!r} has a line end or NUL, which an id or an event's name cannot have")
    return value
