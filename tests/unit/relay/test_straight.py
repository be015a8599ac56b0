"""Publishers write to a reader whose thread waits; whatever its socket takes, the bytes are whole and in order."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from agent_mesh.platform.clock import SystemClock
from agent_mesh.relay import Draft, EndReason, History, Hub, Message, Relay, StreamLimits, parse_patterns
from agent_mesh.relay.connections import Connection
from agent_mesh.relay.sse import ChunkWriter, EventBlocks
from agent_mesh.relay.stream import OpenStream
from tests.unit.relay.conftest import Append

PATTERNS = [["t.a"], ["t.*"]]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's socket that takes little at once, and its client's."""
    server, client = socket.socketpair()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.settimeout(20)
    with server, client:
        yield server, client


class Served:
    """A stream that a thread sends in chunks, as the production server does."""

    def __init__(self, stream: OpenStream, server: socket.socket) -> None:
        self.by_the_thread = 0
        self.ended = False
        self._stream = stream
        self._server = server
        self._thread = threading.Thread(target=self._send)
        stream.write_straight(ChunkWriter(Connection(server, lambda: None)))
        self._thread.start()

    def _send(self) -> None:
        blocks = EventBlocks(self._stream)
        for piece in blocks:
            self.by_the_thread += piece.count(b"\ndata: ")
            self._server.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        blocks.close()
        self._server.sendall(b"0\r\n\r\n")
        self.ended = True

    def stop(self) -> None:
        self._stream.abandon()
        self._thread.join(20)
        assert not self._thread.is_alive()


def opened(hub: Hub, history: History, patterns: list[str], **limits: int) -> OpenStream:
    relay = Relay(hub, history, SystemClock(), StreamLimits(heartbeat_s=30.0, **limits))
    return relay.open(parse_patterns(patterns))


def chunks(client: socket.socket) -> Iterator[bytes]:
    """Yield the chunks of an answer, until the last, empty one."""
    with client.makefile("rb") as received:
        while size := int(received.readline(), 16):
            yield received.read(size)
            assert received.read(2) == b"\r\n"


def until_ready(stream: Iterator[bytes]) -> bytes:
    read = b""
    for chunk in stream:
        read += chunk
        if b"\n: " in read or read.startswith(b": "):
            return read
    raise AssertionError(read)


def numbers(text: bytes) -> list[int]:
    return [int(json.loads(line[6:])["id"]) for line in text.split(b"\n") if line.startswith(b'data: {"id"')]


def large(history: History, count: int) -> list[Message]:
    """Append messages of which few fit into a socket."""
    published = history.append("t.a", [Draft(json.dumps({"text": "x" * 3000, "n": n})) for n in range(count)])
    return [each.message for each in published if each.message]


@pytest.mark.parametrize("patterns", PATTERNS)
def test_a_message_is_written_by_its_publisher_while_the_thread_waits(
    hub: Hub, history: History, append: Append, pair: tuple[socket.socket, socket.socket], patterns: list[str]
) -> None:
    append("t.a")
    served = Served(opened(hub, history, patterns), pair[0])
    stream = chunks(pair[1])
    until_ready(stream)
    for _ in range(1000):  # the thread may need a while until it waits
        before = served.by_the_thread
        messages = append("t.a", 2)
        hub.publish(*messages)
        assert numbers(next(stream)) == [message.number for message in messages]
        if served.by_the_thread == before:
            break
    else:
        pytest.fail("no publisher ever wrote")
    served.stop()


@pytest.mark.parametrize("patterns", PATTERNS)
def test_however_little_a_socket_takes_nothing_is_lost_repeated_or_torn(
    hub: Hub, history: History, append: Append, pair: tuple[socket.socket, socket.socket], patterns: list[str]
) -> None:
    append("t.a")
    served = Served(opened(hub, history, patterns), pair[0])
    stream = chunks(pair[1])
    until_ready(stream)
    messages = large(history, 120)
    publishing = threading.Thread(target=lambda: list(map(hub.publish, messages)))
    publishing.start()
    read: list[int] = []
    while len(read) < len(messages):
        read += numbers(next(stream))
        time.sleep(0.001)
    publishing.join()
    assert read == [message.number for message in messages]
    assert served.by_the_thread > 1  # what did not fit had to wait for it
    served.stop()


def test_what_is_out_of_order_is_left_to_the_thread(
    hub: Hub, history: History, append: Append, pair: tuple[socket.socket, socket.socket]
) -> None:
    append("t.a")
    served = Served(opened(hub, history, ["t.a"]), pair[0])
    stream = chunks(pair[1])
    until_ready(stream)
    time.sleep(0.05)
    lost, late, last = append("t.a", 3)
    hub.publish(last)
    hub.publish(late)
    read = numbers(next(stream))
    assert read == [message.number for message in (lost, late, last)]
    assert all(one < other for one, other in pairwise(read))
    assert served.by_the_thread == 4
    served.stop()


def test_a_stream_that_publishers_have_filled_is_recycled(
    hub: Hub, history: History, append: Append, pair: tuple[socket.socket, socket.socket]
) -> None:
    append("t.a")
    served = Served(opened(hub, history, ["t.a"], recycle_bytes=7000), pair[0])
    stream = chunks(pair[1])
    until_ready(stream)
    for message in large(history, 3):
        hub.publish(message)
    text = b"".join(stream)
    assert b'event: end\ndata: {"reason":"recycled"}' in text
    assert hub.presence("t.a") == 0
    served.stop()


def test_a_reader_who_has_gone_ends_its_stream(
    hub: Hub, history: History, append: Append, pair: tuple[socket.socket, socket.socket]
) -> None:
    append("t.a")
    stream = opened(hub, history, ["t.a"])
    stream.write_straight(ChunkWriter(Connection(pair[0], lambda: None)))
    batches = stream.batches()
    next(batches)
    pair[1].close()
    (message,) = append("t.a")
    thread = threading.Timer(0.1, lambda: hub.publish(message))
    thread.start()
    assert [event.message for event in next(batches) if hasattr(event, "message")] == [message]
    stream.abandon()
    assert [getattr(event, "reason", None) for event in next(batches)] == [EndReason.GONE]
    thread.join()
