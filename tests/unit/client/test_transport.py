from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from agent_mesh.client import ConnectionFailed, ConnectionTimedOut, PooledTransport, Request
from tests.unit.client.stub_mesh import Answer, Asked, StubMesh


@pytest.fixture
def stub() -> Iterator[StubMesh]:
    with StubMesh() as stub:
        yield stub


@pytest.fixture
def transport() -> Iterator[PooledTransport]:
    transport = PooledTransport()
    yield transport
    transport.close()


def test_an_answer_comes_whole_with_lower_case_headers(stub: StubMesh, transport: PooledTransport) -> None:
    stub.rules["POST /x"] = lambda asked: Answer({"got": asked.body}, 207, {"X-Thing": "Value"})
    reply = transport.send(Request("POST", f"{stub.url}/x", {"A": "b"}, b'{"n": 1}'))
    assert (reply.status, reply.body, reply.headers["x-thing"]) == (207, b'{"got": {"n": 1}}', "Value")
    assert stub.asked[0].headers["a"] == "b"


def test_a_redirect_is_answered_and_not_followed(stub: StubMesh, transport: PooledTransport) -> None:
    stub.rules["GET /x"] = Answer("", 302, {"Location": "/y"})
    assert transport.send(Request("GET", f"{stub.url}/x")).status == 302
    assert [asked.path for asked in stub.asked] == ["/x"]


def test_nobody_listening_is_a_failed_connection(transport: PooledTransport) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectionFailed, match=rf"http://127.0.0.1:{port} cannot be reached: Connection refused"):
        transport.send(Request("GET", f"http://127.0.0.1:{port}/secret?token=hidden"))


def test_silence_is_a_timeout(stub: StubMesh, transport: PooledTransport) -> None:
    def slow(_asked: Asked) -> Answer:
        time.sleep(0.5)
        return Answer("late")

    stub.rules["GET /x"] = slow
    with pytest.raises(ConnectionTimedOut, match=r"0\.05 s"):
        transport.send(Request("GET", f"{stub.url}/x", timeout_s=0.05))


@pytest.mark.parametrize("url", ["http://[::1", "http://name with space/", "nothing", "http://127.0.0.1:99999/"])
def test_an_address_that_is_none_is_a_failed_connection(url: str, transport: PooledTransport) -> None:
    with pytest.raises(ConnectionFailed):
        transport.send(Request("GET", url, timeout_s=2))


def test_half_an_answer_is_a_failed_connection(transport: PooledTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def cut() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            connection.close()

        thread = threading.Thread(target=cut)
        thread.start()
        with pytest.raises(ConnectionFailed):
            transport.send(Request("GET", f"http://127.0.0.1:{server.getsockname()[1]}/"))
        thread.join()
