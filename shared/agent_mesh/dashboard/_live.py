"""The live stream of somebody who is signed in. It ends when the session does."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Final

from agent_mesh.contracts.values import to_json
from agent_mesh.platform.clock import Clock
from agent_mesh.relay.sse import block, format_event, formatted
from agent_mesh.relay.stream import DEFAULT_STREAM_LIMITS, End, OpenStream, StreamEvent, StreamLimits

_SESSION_ENDED: Final = block(data=to_json({"reason": "session_ended"}), event="end").encode()


def limits_until(until: float | None, clock: Clock) -> StreamLimits:
    """Return the limits of a stream that may not last longer than until this moment (Unix seconds)."""
    if until is None:
        return DEFAULT_STREAM_LIMITS
    left = max(0.0, until - clock.now())
    return replace(DEFAULT_STREAM_LIMITS, recycle_s=min(DEFAULT_STREAM_LIMITS.recycle_s, left))


class SessionBlocks:
    """A stream as `text/event-stream`. What the end of the session cut off says so, as its `end`."""

    def __init__(self, stream: OpenStream, until: float | None, clock: Clock) -> None:
        """Format this stream; closing it closes the stream."""
        self._stream = stream
        self._pieces = _pieces(stream, lambda: until is not None and clock.now() >= until)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Close the stream, also where nothing was read of it."""
        self._pieces.close()
        self._stream.close()


def _pieces(stream: OpenStream, over: Callable[[], bool]) -> Generator[bytes, None, None]:
    last: list[StreamEvent] = []

    def before_the_end() -> Iterator[Sequence[StreamEvent]]:
        for batch in stream.batches():
            if batch and isinstance(batch[-1], End):
                last.append(batch[-1])
                yield batch[:-1]
            else:
                yield batch

    yield from formatted(before_the_end())
    if last:
        yield _SESSION_ENDED if over() else format_event(last[0])
