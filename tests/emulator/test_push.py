from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from emulator.delivery.messages import Message
from emulator.delivery.push import CachedTokens, Pusher, PushTarget
from emulator.errors import StartError

MESSAGE = Message("7", b"hello", "2026-11-20T08:00:00Z")


class Endpoint:
    """Answers with `status`, after `delay` seconds, and keeps what it received."""

    def __init__(self) -> None:
        self.status = 200
        self.delay = 0.0
        self.received: list[tuple[dict[str, str], Any]] = []
        self.connections = 0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                endpoint.connections += 1
                super().setup()

            def log_message(self, *_: object) -> None:
                """Stay silent."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.received.append((dict(self.headers), body))
                time.sleep(endpoint.delay)
                self.send_response(endpoint.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def target(self, *, deadline: float = 5, counts: bool = True) -> PushTarget:
        return PushTarget("projects/p/subscriptions/s", f"{self.url}/push", self.url, "push-s@x", deadline, counts)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    running = Endpoint()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def pusher() -> Iterator[Pusher]:
    running = Pusher(lambda audience, email: f"token for {email} to {audience}")
    yield running
    running.close()


def test_a_push_carries_the_token_the_envelope_and_googles_headers(endpoint: Endpoint, pusher: Pusher) -> None:
    outcome = pusher.push(endpoint.target(), MESSAGE, 2)
    ((headers, body),) = endpoint.received
    assert (outcome.acked, outcome.status) == (True, 200)
    assert headers["Authorization"] == f"Bearer token for push-s@x to {endpoint.url}"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "CloudPubSub-Google"
    assert body["deliveryAttempt"] == 2
    assert body["message"]["data"] == base64.b64encode(b"hello").decode()


def test_without_tokens_and_without_a_dead_letter_policy_both_are_left_out(endpoint: Endpoint) -> None:
    Pusher(None).push(endpoint.target(counts=False), MESSAGE, 1)
    ((headers, body),) = endpoint.received
    assert "Authorization" not in headers
    assert "deliveryAttempt" not in body


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_these_codes_ack(endpoint: Endpoint, pusher: Pusher, status: int) -> None:
    endpoint.status = status
    assert pusher.push(endpoint.target(), MESSAGE, 1).acked


@pytest.mark.parametrize("status", [HTTPStatus.RESET_CONTENT, 302, 400, 401, 404, 429, 500, 503])
def test_other_codes_nack_and_no_redirect_is_followed(endpoint: Endpoint, pusher: Pusher, status: int) -> None:
    endpoint.status = status
    outcome = pusher.push(endpoint.target(), MESSAGE, 1)
    assert (outcome.acked, outcome.status, len(endpoint.received)) == (False, status, 1)


def test_no_answer_within_the_ack_deadline_is_a_nack(endpoint: Endpoint, pusher: Pusher) -> None:
    endpoint.delay = 0.5
    outcome = pusher.push(endpoint.target(deadline=0.1), MESSAGE, 1)
    assert (outcome.acked, outcome.status, outcome.failure) == (False, 0, "ReadTimeoutError")


def test_a_refused_connection_is_a_nack(pusher: Pusher) -> None:
    target = PushTarget("projects/p/subscriptions/s", "http://127.0.0.1:1/push", "a", "b", 5, counts_attempts=False)
    outcome = pusher.push(target, MESSAGE, 1)
    assert (outcome.acked, outcome.failure) == (False, "NewConnectionError")


@pytest.mark.parametrize("error", [ConnectionError, StartError])
def test_a_failing_token_source_is_a_nack(endpoint: Endpoint, error: type[Exception]) -> None:
    def refuse(_audience: str, _email: str) -> str:
        raise error

    assert Pusher(refuse).push(endpoint.target(), MESSAGE, 1).failure == error.__name__


def test_a_token_is_kept_until_shortly_before_it_expires() -> None:
    now, minted = [1000.0], list[tuple[str, str]]()

    def mint(audience: str, email: str) -> str:
        minted.append((audience, email))
        claims = json.dumps({"exp": now[0] + 3600}).encode()
        return f"h.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.s"

    tokens = CachedTokens(mint, lambda: now[0])
    assert tokens("a", "e") == tokens("a", "e")
    tokens("b", "e")
    assert minted == [("a", "e"), ("b", "e")]
    now[0] += 3301
    tokens("a", "e")
    assert minted[2:] == [("a", "e")]


def test_a_connection_is_kept_but_not_used_again_once_its_server_may_be_closing_it(
    endpoint: Endpoint, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert pusher.push(endpoint.target(), MESSAGE, 1).acked
    assert endpoint.connections == 1
    monkeypatch.setattr("emulator.delivery.connections._MOST_IDLE_SECONDS", 0.05)
    time.sleep(0.1)
    assert pusher.push(endpoint.target(), MESSAGE, 1).acked
    assert endpoint.connections == 2
