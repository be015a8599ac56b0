"""The certificate store: when it fetches, what it serves meanwhile, and what it refuses to read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typing_extensions import override

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.certificates import (
    DEFAULT_FRESH_S,
    FAILURE_PAUSE_S,
    MAX_DOCUMENT_BYTES,
    MAX_FRESH_S,
    MIN_FRESH_S,
    STALE_IF_ERROR_S,
    UNKNOWN_KEY_PAUSE_S,
    CertificateDocument,
    CertificatesError,
    CertificateStore,
    CertificatesUrlError,
    fetch_certificates,
    freshness_s,
    parse_certificates,
)

URL = "https://issuer.test/certs"
PEM = "-----BEGIN CERTIFICATE-----\nold\n-----END CERTIFICATE-----\n"


class Endpoint:
    """A certificate endpoint with a clock: counts its calls, and can go down or publish another key."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.calls = 0
        self.up = True
        self.keys = {"old": PEM}
        self.fresh_for_s = 600.0
        self.gate: threading.Event | None = None

    def now(self) -> float:
        return self.seconds

    def fetch(self, url: str) -> CertificateDocument:
        assert url == URL
        self.calls += 1
        if self.gate is not None:
            assert self.gate.wait(10)
        if not self.up:
            raise CertificatesError("connection refused")
        return CertificateDocument(json.dumps(self.keys).encode(), self.fresh_for_s)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def store(endpoint: Endpoint) -> CertificateStore:
    return CertificateStore(URL, fetch=endpoint.fetch, clock=endpoint)


def test_nothing_is_fetched_before_it_is_needed(endpoint: Endpoint, store: CertificateStore) -> None:
    assert endpoint.calls == 0
    assert store.certificate("old") == PEM
    assert endpoint.calls == 1


def test_a_fresh_copy_is_not_fetched_again_and_a_stale_one_is(endpoint: Endpoint, store: CertificateStore) -> None:
    store.certificate("old")
    endpoint.seconds += 599
    store.certificate("old")
    assert endpoint.calls == 1
    endpoint.seconds += 1
    store.certificate("old")
    assert endpoint.calls == 2


@pytest.mark.parametrize(("told", "kept"), [(0.0, MIN_FRESH_S), (10**9, MAX_FRESH_S)])
def test_freshness_has_bounds(endpoint: Endpoint, store: CertificateStore, told: float, kept: float) -> None:
    endpoint.fresh_for_s = told
    store.certificate("old")
    endpoint.seconds += kept - 1
    store.certificate("old")
    assert endpoint.calls == 1
    endpoint.seconds += 1
    store.certificate("old")
    assert endpoint.calls == 2


def test_cold_and_unreachable_is_unavailable_and_pauses(endpoint: Endpoint, store: CertificateStore) -> None:
    endpoint.up = False
    with pytest.raises(Unavailable) as refused:
        store.certificate("old")
    with pytest.raises(Unavailable):
        store.certificate("old")
    assert endpoint.calls == 1, "every waiting request would pay the timeout again"
    assert refused.value.retry_after_s == FAILURE_PAUSE_S
    endpoint.up = True
    endpoint.seconds += FAILURE_PAUSE_S
    assert store.certificate("old") == PEM


def test_a_stale_copy_serves_for_a_day_while_the_endpoint_is_down(endpoint: Endpoint, store: CertificateStore) -> None:
    store.certificate("old")
    endpoint.up = False
    endpoint.seconds += endpoint.fresh_for_s + STALE_IF_ERROR_S - 1
    assert store.certificate("old") == PEM
    endpoint.seconds += FAILURE_PAUSE_S
    with pytest.raises(Unavailable):
        store.certificate("old")
    endpoint.up = True
    endpoint.seconds += FAILURE_PAUSE_S
    assert store.certificate("old") == PEM


def test_a_new_key_is_found_at_once(endpoint: Endpoint, store: CertificateStore) -> None:
    store.certificate("old")
    endpoint.keys = {"new": PEM}
    assert store.certificate("new") == PEM
    assert store.certificate("old") is None


def test_invented_key_ids_cost_one_fetch_a_minute(endpoint: Endpoint, store: CertificateStore) -> None:
    endpoint.fresh_for_s = 3600.0
    store.certificate("old")
    for number in range(59):
        assert store.certificate(f"invented-{number}") is None
        endpoint.seconds += 1
    assert endpoint.calls == 2
    endpoint.seconds += UNKNOWN_KEY_PAUSE_S - 59
    assert store.certificate("invented") is None
    assert endpoint.calls == 3


def test_an_unknown_key_while_the_endpoint_is_down_is_only_unknown(endpoint: Endpoint, store: CertificateStore) -> None:
    store.certificate("old")
    endpoint.up = False
    assert store.certificate("new") is None
    assert store.certificate("old") == PEM


def test_many_cold_threads_fetch_once(endpoint: Endpoint, store: CertificateStore) -> None:
    endpoint.gate = threading.Event()
    with ThreadPoolExecutor(16) as threads:
        answers = [threads.submit(store.certificate, "old") for _ in range(16)]
        endpoint.gate.set()
        assert {answer.result(10) for answer in answers} == {PEM}
    assert endpoint.calls == 1


def test_a_refresh_underway_holds_up_nobody_with_a_known_key(endpoint: Endpoint, store: CertificateStore) -> None:
    store.certificate("old")
    endpoint.gate = threading.Event()
    endpoint.seconds += 601
    with ThreadPoolExecutor(1) as thread:
        refreshing = thread.submit(store.certificate, "old")
        while endpoint.calls < 2:
            assert not refreshing.done()
        assert store.certificate("old") == PEM
        assert not refreshing.done()
        endpoint.gate.set()
        assert refreshing.result(10) == PEM
    assert endpoint.calls == 2


def test_a_document_that_cannot_be_read_leaves_the_copy(endpoint: Endpoint, store: CertificateStore) -> None:
    store.certificate("old")
    endpoint.keys = {}
    endpoint.seconds += 601
    assert store.certificate("old") == PEM


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"{}", b'{"keys": []}', b'{"a": 1}', b'{"a": "b"}']
)
def test_anything_but_certificates_by_key_id_is_refused(body: bytes) -> None:
    with pytest.raises(CertificatesError):
        parse_certificates(body)


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("public, max-age=20000, must-revalidate", "", 20000.0),
        ("MAX-AGE=60", "20", 40.0),
        ("max-age=60", "90", 0.0),
        ("max-age=60", "nonsense", 60.0),
        ("s-max-age=60", "", DEFAULT_FRESH_S),
        ("no-store", "", DEFAULT_FRESH_S),
        ("", "", DEFAULT_FRESH_S),
    ],
)
def test_freshness_is_max_age_less_age(cache_control: str, age: str, seconds: float) -> None:
    assert freshness_s(cache_control, age) == seconds


@pytest.mark.parametrize("url", ["http://issuer.example.com/certs", "ftp://localhost/certs", "certs", ""])
def test_certificates_over_plain_http_from_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(CertificatesUrlError):
        CertificateStore(url)


@pytest.mark.parametrize("url", ["http://localhost:9000/certs", "http://127.0.0.1/certs", "http://[::1]:80/certs", URL])
def test_https_and_this_machine_are_trusted(url: str) -> None:
    CertificateStore(url)


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        @override
        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/certs"
        finally:
            server.shutdown()
            thread.join()


def answering(status: int, body: bytes, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def test_certificates_come_over_real_http_with_their_lifetime() -> None:
    with serving(answering(200, json.dumps({"k": PEM}).encode(), Cache_Control="public, max-age=100", Age="30")) as url:
        assert fetch_certificates(url).fresh_for_s == 70.0
        assert CertificateStore(url).certificate("k") == PEM


@pytest.mark.parametrize("status", [204, 302, 404, 500])
def test_another_status_is_an_error_and_redirects_are_not_followed(status: int) -> None:
    with (
        serving(answering(status, b"", Location="http://127.0.0.1:1/")) as url,
        pytest.raises(CertificatesError, match=f"status {status}"),
    ):
        fetch_certificates(url)


def test_an_endless_document_is_cut_off() -> None:
    with (
        serving(answering(200, b" " * (MAX_DOCUMENT_BYTES + 1))) as url,
        pytest.raises(CertificatesError, match="larger"),
    ):
        fetch_certificates(url)


def test_a_closed_port_is_an_error() -> None:
    with serving(answering(200, b"")) as url:
        pass
    with pytest.raises(CertificatesError):
        fetch_certificates(url)
