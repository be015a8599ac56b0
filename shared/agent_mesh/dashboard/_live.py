"""The live stream of somebody who is signed in. It ends when the session does."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final

from agent_mesh.contracts.values import to_json
from agent_mesh.platform.clock import Clock
from agent_mesh.relay.sse import RECONNECT_MS, block, format_event
from agent_mesh.relay.stream import DEFAULT_STREAM_LIMITS, End, StreamEvent, StreamLimits

_SESSION_ENDED: Final = block(data=to_json({"reason": "session_ended"}), event="end")


def limits_until(until: float | None, clock: Clock) -> StreamLimits:
    """Return the limits of a stream that may not last longer than until this moment (Unix seconds)."""
    if until is None:
        return DEFAULT_STREAM_LIMITS
    left = max(0.0, until - clock.now())
    return replace(DEFAULT_STREAM_LIMITS, recycle_s=min(DEFAULT_STREAM_LIMITS.recycle_s, left))


def blocks(events: Generator[StreamEvent, None, None], until: float | None, clock: Clock) -> Iterator[bytes]:
    """Yield a stream as `text/event-stream`. What the end of a session cut off says so, as its `end`."""
    with closing(events):
        yield block(retry_ms=RECONNECT_MS).encode()
        for event in events:
            over = until is not None and clock.now() >= until
            yield (_SESSION_ENDED if over and isinstance(event, End) else format_event(event)).encode()
