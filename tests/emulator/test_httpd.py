from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus

import pytest

from emulator import httpd
from emulator.httpd import LoopbackServer, Reply, Request, text_reply


class Numbers:
    """Gives so many pieces, then ends; tells when it was closed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.closed = threading.Event()

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        self.closed.set()


def endless(size: int) -> Iterator[bytes]:
    while True:
        yield b"x" * size


def serving(numbers: Numbers) -> LoopbackServer:
    return LoopbackServer(lambda _: Reply(HTTPStatus.OK, b"first ", "text/plain", {}, numbers))


def test_a_stream_ends_with_its_pieces() -> None:
    numbers = Numbers(iter([b"one ", b"", b"two"]))
    with serving(numbers) as server, closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as client:
        client.request("GET", "/")
        answer = client.getresponse()
        assert answer.read() == b"first one two"
        assert answer.headers["Connection"] == "close"
        assert "Content-Length" not in answer.headers
        assert numbers.closed.wait(5)


@pytest.mark.parametrize("size", [0, 1])
def test_a_reader_that_leaves_is_noticed(size: int) -> None:
    numbers = Numbers(endless(size))
    with serving(numbers) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        client.request("GET", "/")
        answer = client.getresponse()
        assert answer.read(6) == b"first "
        answer.close()
        client.close()
        assert numbers.closed.wait(5)


def test_a_reader_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpd, "_STUCK_SECONDS", 0.2)
    numbers = Numbers(endless(1024 * 1024))
    with serving(numbers) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert numbers.closed.wait(5)


def test_a_handler_gets_the_body() -> None:
    def echo(request: Request) -> Reply:
        return Reply(HTTPStatus.OK, request.body)

    with LoopbackServer(echo) as server, closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
        client.request("POST", "/", b"\xff body")
        assert client.getresponse().read() == b"\xff body"


def test_a_body_may_be_as_large_as_the_server_says() -> None:
    with LoopbackServer(lambda _: text_reply("ok"), largest_body=10) as server:
        for size, status in ((10, 200), (11, 413)):
            with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
                client.request("POST", "/", b"x" * size)
                assert client.getresponse().status == status


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_a_foreign_host_name_is_refused_with_and_without_a_port(host: str) -> None:
    with (
        LoopbackServer(lambda _: text_reply("ok")) as server,
        closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client,
    ):
        client.request("GET", "/", headers={"Host": host})
        assert client.getresponse().status == HTTPStatus.FORBIDDEN


def test_a_reader_that_leaves_before_its_answer_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    asked, left = threading.Event(), threading.Event()

    def slow(_request: Request) -> Reply:
        asked.set()
        left.wait(5)
        return Reply(HTTPStatus.OK, b"x" * 1024 * 1024)

    with LoopbackServer(slow) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asked.wait(5)
        client.close()
        before = threading.active_count()
        left.set()
        deadline = time.monotonic() + 5
        while threading.active_count() >= before and time.monotonic() < deadline:
            time.sleep(0.01)
    assert capfd.readouterr().err == ""
