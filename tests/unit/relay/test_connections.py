"""Readers that have gone, and readers that do not read."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from pytest_mock import MockerFixture

from agent_mesh.relay import connections
from agent_mesh.relay.connections import Connection, Connections, server_is_stopping


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    server, client = socket.socketpair()
    with server, client:
        yield server, client


@pytest.fixture
def watched() -> Connections:
    return Connections(lambda: None, stuck_s=0.2)


def test_a_reader_that_closes_is_noticed_at_once(
    watched: Connections, pair: tuple[socket.socket, socket.socket]
) -> None:
    heard = threading.Event()
    connection = Connection(pair[0], heard.set)
    watched.add(connection)
    assert [heard.wait(0.1), connection.closed_by_reader] == [False, False]
    pair[1].close()
    assert heard.wait(10)
    assert connection.closed_by_reader
    watched.remove(connection)
    watched.remove(connection)


def test_what_a_reader_sends_is_told_once_and_not_read(
    watched: Connections, pair: tuple[socket.socket, socket.socket]
) -> None:
    heard = threading.Semaphore(0)
    connection = Connection(pair[0], heard.release)
    watched.add(connection)
    pair[1].sendall(b"hello")
    assert heard.acquire(timeout=10)
    assert not heard.acquire(timeout=0.2)
    assert not connection.closed_by_reader
    watched.listen_again(connection)
    assert heard.acquire(timeout=10)
    assert pair[0].recv(10) == b"hello"
    watched.remove(connection)
    watched.listen_again(connection)


def test_a_defect_in_one_stream_keeps_nobody_from_being_watched(
    watched: Connections, pair: tuple[socket.socket, socket.socket]
) -> None:
    def fail() -> None:
        raise ValueError("a defect")

    heard = threading.Event()
    other, client = socket.socketpair()
    with other, client:
        broken, whole = Connection(pair[0], fail), Connection(other, heard.set)
        watched.add(broken)
        watched.add(whole)
        pair[1].sendall(b"x")
        time.sleep(0.1)
        client.sendall(b"x")
        assert heard.wait(10)
        watched.remove(broken)
        watched.remove(whole)


def test_a_write_that_hangs_is_cut_off_and_one_that_goes_on_is_not(
    watched: Connections, pair: tuple[socket.socket, socket.socket]
) -> None:
    connection = Connection(pair[0], lambda: None)
    watched.add(connection)
    connection.writing_since = time.monotonic()
    with pytest.raises(OSError, match="pipe"):  # noqa: PT012 - the write that fails is the one that hangs
        while True:
            pair[0].sendall(b"x" * 1_000_000)
    watched.remove(connection)


def test_whoever_watches_is_told_once_that_the_server_stops(
    pair: tuple[socket.socket, socket.socket], mocker: MockerFixture
) -> None:
    told = threading.Semaphore(0)
    watched = Connections(told.release)
    connection = Connection(pair[0], lambda: None)
    watched.add(connection)
    assert not told.acquire(timeout=0.7)
    mocker.patch.object(connections, "server_is_stopping", return_value=True)
    assert told.acquire(timeout=10)
    assert not told.acquire(timeout=1.2)
    watched.remove(connection)


def test_a_server_stops_when_gunicorns_worker_is_not_alive_any_more(mocker: MockerFixture) -> None:
    class Worker:
        alive = True

        def handle_exit(self) -> None:
            """As gunicorn's."""

    worker = Worker()
    assert not server_is_stopping()
    mocker.patch("signal.getsignal", return_value=worker.handle_exit)
    assert not server_is_stopping()
    worker.alive = False
    assert server_is_stopping()
