"""A stream of events, read whatever way its bytes arrive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.client import (
    ConnectionFailed,
    LocalTokens,
    MockTransport,
    ProblemError,
    RelayClient,
    RelayGap,
    Reply,
    Request,
    ServerEvent,
)
from agent_mesh.client._event_stream import server_events
from agent_mesh.relay.sse import block, comment

LINE = st.text().filter(lambda text: not set(text) & set("\r\n\0"))


def cut(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Yield a stream in pieces of these sizes, then the rest."""
    for size in sizes:
        yield stream[:size]
        stream = stream[size:]
    yield stream


@given(st.lists(st.tuples(st.text(min_size=1), LINE.filter(bool), LINE)), st.lists(st.integers(0, 9)))
def test_however_a_stream_is_cut_its_events_come_whole(events: list[tuple[str, str, str]], sizes: list[int]) -> None:
    stream = "".join(comment("") + block(data=data, event=kind, event_id=each) for data, kind, each in events)
    read = list(server_events(cut(stream.encode(errors="replace"), sizes)))
    normal = [
        ServerEvent(kind, data.replace("\r\n", "\n").replace("\r", "\n"), each)
        for data, kind, each in (tuple(text.encode(errors="replace").decode() for text in event) for event in events)
    ]
    assert read == normal


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_may_end_in_any_of_three_ways(end: bytes, size: int) -> None:
    stream = end.join([b": hello", b"", b"id:7", b"data: a", b"data:b", b"", b"event: end", b"data", b"", b"data: cut"])
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert list(server_events(pieces)) == [ServerEvent("message", "a\nb", "7"), ServerEvent("end", "", "7")]


def test_an_id_alone_moves_on_and_one_with_a_nul_does_not() -> None:
    stream = block(event_id="1") + "id: 2\0\ndata: x\n\n" + "retry: 10\n\n"
    assert list(server_events([stream.encode()], "0")) == [
        ServerEvent("message", "", "1"),
        ServerEvent("message", "x", "1"),
    ]


class Streams:
    """Answers each connection with the next of some streams, and remembers what was asked."""

    def __init__(self, *answers: list[bytes] | Reply | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []

    def stream(self, request: Request) -> Iterator[bytes] | Reply:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return iter(answer) if isinstance(answer, list) else answer


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float, /) -> None:
        self.time += seconds


def client(streams: Streams) -> RelayClient:
    transport = MockTransport(lambda _: Reply(200, {}, b'{"id_token": "a.b.c", "token": "a.b.c"}'))

    class Token(LocalTokens):
        def token(self, audience: str) -> str:
            return f"for {audience}"

    tokens = Token("http://issuer.test", "a@example.com", transport)
    return RelayClient("https://relay.test/", tokens=tokens, transport=transport, streams=streams, clock=Clock())


def message(number: int) -> bytes:
    data = f'{{"id":"{number}","ts":1.5,"topic":"a","payload":{{"n":{number}}}}}'
    return block(data=data, event_id=str(number)).encode()


END = block(data='{"reason":"recycled"}', event="end").encode()
GAP = block(data='{"topic":"a","reason":"too_old"}', event="gap").encode()


def test_a_watch_goes_on_behind_the_last_event_whatever_breaks() -> None:
    streams = Streams(
        [message(1), message(2), END],
        ConnectionFailed("gone"),
        Reply(503, {}, b"{}"),
        Reply(502, {}, b"<html>Bad Gateway</html>"),
        [block(event_id="5").encode(), GAP, message(6)],
        Reply(403, {}, b"{}"),
    )
    watch = client(streams).watch("a", "b.*")
    events = iter(watch)
    seen = ["gap" if isinstance(event, RelayGap) else event.id for event in islice(events, 4)]
    with pytest.raises(ProblemError):
        next(events)
    assert seen == ["1", "2", "gap", "6"]
    assert watch.last_event_id == "6"
    assert [asked.headers.get("Last-Event-ID") for asked in streams.asked] == [None, "2", "2", "2", "2", "6"]
    assert {asked.url for asked in streams.asked} == {"https://relay.test/subscribe?topic=a&topic=b.%2A"}
    assert streams.asked[0].headers["Authorization"] == "Bearer for https://relay.test"


def test_a_watch_loses_patience_with_a_relay_that_stays_away() -> None:
    streams = Streams(*[ConnectionFailed("gone")] * 100)
    with pytest.raises(ConnectionFailed):
        next(iter(client(streams).watch("a", patience_s=5)))
    assert 4 < len(streams.asked) < 10
