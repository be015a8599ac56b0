"""Many subscribers in one process without threads: reads streams, says when each has caught up, and when what came.

`python -m benchmarks.relay_readers HOST PORT PATH AUTHORIZATION SUBSCRIBERS MESSAGES`: prints `ready`, and at the end
one line of JSON. A message's payload holds `t`, the publisher's `CLOCK_MONOTONIC` in nanoseconds.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from dataclasses import dataclass
from typing import Final

_STAMP: Final = re.compile(rb'"t": ?(\d+)')
_SLOWEST_SECONDS: Final = 120.0


@dataclass
class Stream:
    """One subscriber."""

    connection: socket.socket
    rest: bytes = b""
    caught_up: bool = False
    count: int = 0


def main() -> None:
    """Read until every stream has all messages."""
    host, port, path, authorization, subscribers, messages = sys.argv[1:]
    selector = selectors.DefaultSelector()
    head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {authorization}\r\n\r\n"
    streams: list[Stream] = []
    for _ in range(int(subscribers)):
        stream = Stream(socket.create_connection((host, int(port))))
        stream.connection.sendall(head.encode())  # at once: a server closes connections that say nothing
        selector.register(stream.connection, selectors.EVENT_READ, stream)
        streams.append(stream)
    latencies: list[int] = []
    waiting, unfinished = len(streams), len(streams)
    deadline = time.monotonic() + _SLOWEST_SECONDS
    while unfinished:
        assert time.monotonic() < deadline, f"{unfinished} streams lack messages"
        for key, _ in selector.select(1.0):
            stream = key.data
            received = stream.connection.recv(262_144)
            assert received, "a stream has ended"
            now = time.monotonic_ns()
            if not stream.caught_up:
                stream.rest += received
                if b"\n: " in stream.rest or b"\r\n: " in stream.rest or b"\n:\n" in stream.rest:
                    stream.caught_up, stream.rest = True, b""
                    waiting -= 1
                    if not waiting:
                        print("ready", flush=True)
                continue
            stamps = _STAMP.findall(stream.rest + received)
            stream.rest = (stream.rest + received)[-40:] if not stamps else b""
            latencies += [now - int(stamp) for stamp in stamps]
            before = stream.count
            stream.count += len(stamps)
            if before < int(messages) <= stream.count:
                unfinished -= 1
    counts = {stream.count for stream in streams}
    assert counts == {int(messages)}, f"streams have other numbers of messages: {sorted(counts)}"
    latencies.sort()
    print(
        json.dumps(
            {
                "p50_ms": latencies[len(latencies) // 2] / 1e6,
                "p99_ms": latencies[len(latencies) * 99 // 100] / 1e6,
                "ended_ns": time.monotonic_ns(),
            }
        )
    )


if __name__ == "__main__":
    main()
