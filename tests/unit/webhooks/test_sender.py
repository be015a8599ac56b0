"""One attempt against real servers on this machine: what is sent, what is trusted, and what an answer means."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from typing_extensions import override

import agent_mesh.webhooks
from agent_mesh.webhooks import Delivery, DeliveryStatus, SecretError, WebhookSender, _exchange, new_secret, verify

NOW = 1_800_000_000.0
SECRET = new_secret()
PAYLOAD = '{"taskId":"t1","costUsd":1.10,"big":12345678901234567890}'


class StoppedClock:
    def now(self) -> float:
        return NOW


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Receiver:
    """A server that keeps what it got and answers as the test says."""

    answer: Answer
    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def drip(request: BaseHTTPRequestHandler) -> None:
    """Answer one byte after the other, for longer than anybody should wait."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: " + b"z" * 1000:
        try:
            request.wfile.write(bytes([byte]))
        except OSError:
            return
        time.sleep(0.02)


def until_the_caller_goes(request: BaseHTTPRequestHandler) -> None:
    """Answer nothing more."""
    with suppress(OSError):
        request.rfile.read(1)


Start = Callable[..., Receiver]


@pytest.fixture
def receiving() -> Iterator[Start]:
    """Start receivers; they end with the test."""
    with ExitStack() as stack:

        def start(answer: Answer, tls: ssl.SSLContext | None = None) -> Receiver:
            receiver = Receiver(answer)

            class Handler(BaseHTTPRequestHandler):
                def do_POST(self) -> None:
                    body = self.rfile.read(int(self.headers["Content-Length"]))
                    receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    receiver.answer(self)

                @override
                def log_message(self, *_: object) -> None:
                    """Stay quiet."""

            class Server(ThreadingHTTPServer):
                @override
                def handle_error(self, *_: object) -> None:
                    """A client that hangs up is expected here."""

            server = stack.enter_context(Server(("127.0.0.1", 0), Handler))
            if tls is not None:
                tls.sni_callback = lambda _socket, name, _context: receiver.server_names.append(name)
                server.socket = stack.enter_context(tls.wrap_socket(server.socket, server_side=True))
            receiver.port = server.server_port
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            thread.start()
            return receiver

        yield start


def answering(*addresses: str) -> Callable[..., Sequence[tuple[Any, ...]]]:
    return lambda _host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in addresses]


def send_to(url: str, *, allowed: Sequence[str] = ("127.0.0.1",), **options: Any) -> Delivery:
    sender = WebhookSender([SECRET], allowed, clock=StoppedClock(), **options)
    return sender.send(url, "task_1", "mesh.task.succeeded", PAYLOAD, occurred_at=NOW - 60.5)


def test_a_result_arrives_signed_and_in_the_standard_shape(receiving: Start) -> None:
    receiver = receiving(status(204))
    delivery = send_to(f"http://127.0.0.1:{receiver.port}/hooks?key=1")
    assert (delivery.status, delivery.http_status, delivery.reason) == (DeliveryStatus.DELIVERED, 204, "")
    assert 0 < delivery.latency_s < 5
    [(path, headers, body)] = receiver.requests
    assert path == "/hooks?key=1"
    assert json.loads(body) == {
        "type": "mesh.task.succeeded",
        "timestamp": "2027-01-15T07:58:59.500Z",
        "data": json.loads(PAYLOAD),
    }
    assert PAYLOAD.encode() in body, "numbers keep their digits"
    verify(headers, body, [SECRET], NOW)
    assert headers["webhook-timestamp"] == str(int(NOW))
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert not {"authorization", "cookie", "proxy-authorization", "traceparent"} & set(headers)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (200, DeliveryStatus.DELIVERED),
        (202, DeliveryStatus.DELIVERED),
        (299, DeliveryStatus.DELIVERED),
        (304, DeliveryStatus.RETRY),
        (400, DeliveryStatus.RETRY),
        (404, DeliveryStatus.RETRY),
        (410, DeliveryStatus.GONE),
        (429, DeliveryStatus.RETRY),
        (500, DeliveryStatus.RETRY),
        (503, DeliveryStatus.RETRY),
    ],
)
def test_the_status_decides_whether_to_try_again(receiving: Start, code: int, expected: DeliveryStatus) -> None:
    receiver = receiving(status(code))
    delivery = send_to(f"http://127.0.0.1:{receiver.port}/")
    assert (delivery.status, delivery.http_status) == (expected, code)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_nobody_follows_it(receiving: Start, code: int) -> None:
    elsewhere = receiving(status(200))
    receiver = receiving(status(code, Location=f"http://127.0.0.1:{elsewhere.port}/"))
    assert send_to(f"http://127.0.0.1:{receiver.port}/").status is DeliveryStatus.RETRY
    assert elsewhere.requests == []


def test_a_proxy_of_the_environment_is_not_used(receiving: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    receiver = receiving(status(200))
    assert send_to(f"http://127.0.0.1:{receiver.port}/").status is DeliveryStatus.DELIVERED


def test_a_huge_answer_is_read_only_a_little(receiving: Start) -> None:
    written: list[int] = []

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while sum(written) < 1 << 28:
                written.append(request.wfile.write(b"x" * 65536))
        except OSError:
            return

    receiver = receiving(endless)
    assert send_to(f"http://127.0.0.1:{receiver.port}/").status is DeliveryStatus.DELIVERED
    assert sum(written) < 1 << 26, "only what the buffers of the sockets hold"


@pytest.mark.parametrize("answer", [drip, until_the_caller_goes], ids=["one byte at a time", "not at all"])
def test_a_slow_answer_is_cut_off_in_time(receiving: Start, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    monkeypatch.setattr(_exchange, "TOTAL_TIMEOUT_S", 0.3)
    receiver = receiving(answer)
    delivery = send_to(f"http://127.0.0.1:{receiver.port}/")
    assert (delivery.status, delivery.http_status) == (DeliveryStatus.RETRY, None)
    assert delivery.reason == "no answer within 0 s"
    assert 0.2 < delivery.latency_s < 10


def test_a_slow_body_after_a_good_status_is_delivered(receiving: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_body(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "10")
        request.end_headers()
        request.wfile.write(b"x")
        until_the_caller_goes(request)

    monkeypatch.setattr(_exchange, "TOTAL_TIMEOUT_S", 0.3)
    receiver = receiving(slow_body)
    delivery = send_to(f"http://127.0.0.1:{receiver.port}/")
    assert delivery.status is DeliveryStatus.DELIVERED
    assert delivery.latency_s < 10


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300]
)
def test_an_answer_that_is_no_http_is_tried_again(receiving: Start, answer: bytes) -> None:
    def raw(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(answer)
        request.close_connection = True

    receiver = receiving(raw)
    assert send_to(f"http://127.0.0.1:{receiver.port}/").status is DeliveryStatus.RETRY


def test_a_closed_port_is_tried_again(receiving: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    delivery = send_to(f"http://127.0.0.1:{port}/")
    assert (delivery.status, delivery.reason) == (DeliveryStatus.RETRY, "NewConnectionError")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "https://10.0.0.1/", "https://localhost/", "nonsense"])
def test_a_target_that_must_not_be_called_is_refused_for_good(url: str) -> None:
    delivery = send_to(url, allowed=())
    assert (delivery.status, delivery.http_status) == (DeliveryStatus.REFUSED, None)
    assert "callback URL" in delivery.reason


def test_a_name_that_resolves_inside_is_never_connected_to(receiving: Start) -> None:
    receiver = receiving(status(200))
    delivery = send_to("https://hooks.example.com/", allowed=(), resolver=answering("8.8.8.8", "127.0.0.1"))
    assert delivery.status is DeliveryStatus.REFUSED
    assert receiver.requests == []


def test_a_name_is_resolved_once_and_rebinding_it_changes_nothing(receiving: Start) -> None:
    receiver, inside = receiving(status(200)), "127.0.0.99"
    asked: list[str] = []

    def rebinding(host: str, port: int, **_: object) -> Sequence[tuple[Any, ...]]:
        asked.append(host)
        return answering("127.0.0.1" if len(asked) == 1 else inside)(host, port)

    delivery = send_to(f"http://rebound.test:{receiver.port}/", allowed=("rebound.test",), resolver=rebinding)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert asked == ["rebound.test"]
    assert receiver.requests[0][1]["host"] == f"rebound.test:{receiver.port}"


def test_a_name_that_does_not_resolve_is_tried_again() -> None:
    def failing(*_: object, **__: object) -> Sequence[tuple[Any, ...]]:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    assert send_to("https://hooks.example.com/", resolver=failing).status is DeliveryStatus.RETRY


@dataclass(frozen=True)
class Authority:
    """A certificate authority of this test."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))

    def serving_as(self, *names: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = issued(self.name, "server", key.public_key(), self.key, [x509.DNSName(name) for name in names])
        pair = self.folder / "server.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pair.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        return context


# keyCertSign and cRLSign of the nine uses
SIGNS_CERTIFICATES = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


def issued(
    issuer: x509.Name,
    subject: str,
    public: ec.EllipticCurvePublicKey,
    key: ec.EllipticCurvePrivateKey,
    names: Sequence[x509.GeneralName],
) -> x509.Certificate:
    start = datetime.now(UTC) - timedelta(hours=1)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateBuilder(
        issuer, name, public, x509.random_serial_number(), start, start + timedelta(days=1)
    )
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = builder.add_extension(signer, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    else:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        builder = builder.add_extension(SIGNS_CERTIFICATES, critical=True)
    return builder.sign(key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    (folder / "ca.pem").write_bytes(issued(name, "authority", key.public_key(), key, []).public_bytes(Encoding.PEM))
    return Authority(folder, key, name)


def test_tls_is_checked_against_the_name_though_the_address_is_connected_to(
    receiving: Start, authority: Authority
) -> None:
    receiver = receiving(status(200), authority.serving_as("hooks.test"))
    url = f"https://hooks.test:{receiver.port}/x"
    delivery = send_to(url, allowed=("hooks.test",), resolver=answering("127.0.0.1"), tls=authority.trusted())
    assert (delivery.status, delivery.reason) == (DeliveryStatus.DELIVERED, "")
    assert receiver.server_names == ["hooks.test"]
    assert receiver.requests[0][1]["host"] == f"hooks.test:{receiver.port}"


def test_a_certificate_of_another_name_is_not_trusted(receiving: Start, authority: Authority) -> None:
    receiver = receiving(status(200), authority.serving_as("other.test", "127.0.0.1"))
    url = f"https://hooks.test:{receiver.port}/x"
    delivery = send_to(url, allowed=("hooks.test",), resolver=answering("127.0.0.1"), tls=authority.trusted())
    assert delivery.status is DeliveryStatus.RETRY
    assert receiver.requests == []


def test_a_certificate_of_an_unknown_authority_is_not_trusted(receiving: Start, authority: Authority) -> None:
    receiver = receiving(status(200), authority.serving_as("hooks.test"))
    url = f"https://hooks.test:{receiver.port}/x"
    delivery = send_to(url, allowed=("hooks.test",), resolver=answering("127.0.0.1"))
    assert delivery.status is DeliveryStatus.RETRY
    assert receiver.requests == []


def test_a_slow_answer_over_tls_is_cut_off_in_time(
    receiving: Start, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_exchange, "TOTAL_TIMEOUT_S", 0.5)
    receiver = receiving(drip, authority.serving_as("hooks.test"))
    url = f"https://hooks.test:{receiver.port}/x"
    delivery = send_to(url, allowed=("hooks.test",), resolver=answering("127.0.0.1"), tls=authority.trusted())
    assert delivery.status is DeliveryStatus.RETRY
    assert delivery.latency_s < 10


@pytest.mark.parametrize("payload", ["", "[]", "null", "{", '{"a": NaN}', '{"a":' * 500, '{}, "x": {}'])
def test_a_payload_that_is_no_json_object_is_never_sent(payload: str) -> None:
    sender = WebhookSender([SECRET], ["127.0.0.1"])
    with pytest.raises(ValueError):
        sender.send("http://127.0.0.1:1/", "task_1", "mesh.task.succeeded", payload)


def test_without_secrets_there_is_no_sender() -> None:
    with pytest.raises(SecretError):
        WebhookSender([])


def test_public_names_are_sorted_and_exist() -> None:
    assert agent_mesh.webhooks.__all__ == sorted(agent_mesh.webhooks.__all__)
    assert all(hasattr(agent_mesh.webhooks, name) for name in agent_mesh.webhooks.__all__)
