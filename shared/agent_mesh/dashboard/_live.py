"""The live stream of somebody who is signed in. Nothing is sent after the session has ended."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Final

from agent_mesh.contracts.values import to_json
from agent_mesh.platform.clock import Clock
from agent_mesh.relay.instance import LiveStream
from agent_mesh.relay.sse import block, formatted
from agent_mesh.relay.stream import StreamEvent

_SESSION_ENDED: Final = block(data=to_json({"reason": "session_ended"}), event="end").encode()


class SessionBlocks:
    """A stream as `text/event-stream`. Where the session cuts it off its `end` says so: at the next heartbeat."""

    def __init__(self, stream: LiveStream, until: int | None, clock: Clock) -> None:
        """Format this stream, which may last before `until` (Unix seconds); closing it closes the stream."""
        self._stream = stream
        self._until = until
        self._clock = clock
        self._pieces = self._formatted()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Close the stream, also where nothing was read of it."""
        self._pieces.close()
        self._stream.close()

    def _formatted(self) -> Generator[bytes, None, None]:
        yield from formatted(self._before_the_end())
        if self._is_over():
            yield _SESSION_ENDED

    def _before_the_end(self) -> Iterator[Sequence[StreamEvent]]:
        for batch in self._stream.batches():
            if self._is_over():
                return
            yield batch

    def _is_over(self) -> bool:
        return self._until is not None and self._clock.now() >= self._until
