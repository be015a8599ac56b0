"""ID tokens of our own: one for each audience, kept, renewed in time, and minted by the real google-auth."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.id_tokens import (
    MAX_AUDIENCES,
    RENEW_BEFORE_S,
    RETRY_AFTER_S,
    IdTokenSource,
    expiry_of,
)
from agent_mesh.platform.mint_faults import MintError

NOW = 1_800_000_000.0
LIFETIME_S = 3600
ORCHESTRATOR = "https://orchestrator.example.com"


def unsigned(payload: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b'=').decode()}.c2ln"


class Mint:
    """Mints countable tokens that live an hour of its own clock."""

    def __init__(self) -> None:
        self.seconds = NOW
        self.minted: list[str] = []
        self.up = True

    def now(self) -> float:
        return self.seconds

    def __call__(self, audience: str) -> str:
        self.minted.append(audience)
        if not self.up:
            raise MintError("metadata server is away")
        return unsigned({"aud": audience, "exp": self.seconds + LIFETIME_S, "n": len(self.minted)})


@pytest.fixture
def mint() -> Mint:
    return Mint()


@pytest.fixture
def source(mint: Mint) -> IdTokenSource:
    return IdTokenSource(minter=mint, clock=mint)


def test_a_token_is_minted_once_for_each_audience(mint: Mint, source: IdTokenSource) -> None:
    assert source.token("a") == source.token("a")
    assert source.token("b") != source.token("a")
    assert mint.minted == ["a", "b"]


def test_a_token_is_renewed_five_minutes_before_its_end(mint: Mint, source: IdTokenSource) -> None:
    first = source.token("a")
    mint.seconds += LIFETIME_S - RENEW_BEFORE_S - 1
    assert source.token("a") == first
    mint.seconds += 1
    assert source.token("a") != first


def test_the_old_token_serves_while_minting_fails_and_then_no_more(mint: Mint, source: IdTokenSource) -> None:
    first = source.token("a")
    mint.up = False
    mint.seconds += LIFETIME_S - 60
    assert source.token("a") == first
    mint.seconds += 31
    with pytest.raises(Unavailable, match="metadata server is away"):
        source.token("a")


def test_a_failure_is_not_repeated_by_every_thread_that_waited(mint: Mint, source: IdTokenSource) -> None:
    mint.up = False
    with pytest.raises(Unavailable) as refused:
        source.token("a")
    with pytest.raises(Unavailable):
        source.token("a")
    assert len(mint.minted) == 1
    assert "GCE_METADATA_HOST" in refused.value.detail
    assert refused.value.retry_after_s == RETRY_AFTER_S
    mint.up = True
    mint.seconds += RETRY_AFTER_S
    assert expiry_of(source.token("a")) == mint.seconds + LIFETIME_S


def test_threads_of_one_audience_share_one_minting(mint: Mint, source: IdTokenSource) -> None:
    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(source.token, ["a"] * 64))) == 1
    assert mint.minted == ["a"]


def test_a_slow_audience_holds_up_no_other(mint: Mint) -> None:
    gate = threading.Event()

    def minter(audience: str) -> str:
        assert audience == "fast" or gate.wait(10)
        return mint(audience)

    source = IdTokenSource(minter=minter, clock=mint)
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(source.token, "slow")
        assert source.token("fast")
        assert not slow.done()
        gate.set()
        assert slow.result(10)


def test_the_number_of_audiences_is_bounded(mint: Mint, source: IdTokenSource) -> None:
    for number in range(MAX_AUDIENCES):
        source.token(str(number))
    for audience in ("0", "new", "0"):
        source.token(audience)
    assert len(mint.minted) == MAX_AUDIENCES + 1, "one that is in use stays"
    source.token("1")
    assert len(mint.minted) == MAX_AUDIENCES + 2, "the one that nobody asked for the longest is gone"


@pytest.mark.parametrize(
    "token",
    ["", "garbage", "a.b.c", unsigned([]), unsigned({}), unsigned({"exp": "soon"}), unsigned({"exp": [1]})],
    ids=["empty", "one part", "no base64", "a list", "no exp", "exp of text", "exp of a list"],
)
def test_what_is_no_id_token_is_never_handed_out(mint: Mint, token: str) -> None:
    source = IdTokenSource(minter=lambda _audience: token, clock=mint)
    with pytest.raises(Unavailable):
        source.token("a")


def test_an_expired_token_from_the_mint_is_never_handed_out(mint: Mint) -> None:
    source = IdTokenSource(minter=lambda _audience: unsigned({"exp": NOW + 5}), clock=mint)
    with pytest.raises(Unavailable, match=r"the minted token ends at .* Set this machine's clock"):
        source.token("a")


class _Google(BaseHTTPRequestHandler):
    """The metadata server's identity path, the IAM credentials API and the token endpoint of user credentials."""

    def do_GET(self) -> None:
        audience = self.path.partition("audience=")[2].partition("&")[0]
        if audience:
            self._answer(unsigned({"aud": audience, "exp": 4_000_000_000}).encode(), "application/text")
        else:
            self._answer(b'{"email": "default@project.iam.gserviceaccount.com"}', "application/json")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = {"token": unsigned({"exp": 4_000_000_001}), "access_token": "user", "expires_in": 3600}
        self._answer(json.dumps(answer).encode(), "application/json")

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def google() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Google) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def in_new_process(tmp_path: Path) -> Callable[..., str]:
    """Run code where google-auth has not read its environment yet: it does so at import."""

    def run(code: str, **environment: str) -> str:
        shared = str(Path(__file__).parents[3] / "shared")
        bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": shared, **environment}
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=bare)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


PRINT_TOKEN = f"from agent_mesh.platform.id_tokens import *; print(IdTokenSource().token({ORCHESTRATOR!r}))"
PRINT_REFUSAL = """
from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.id_tokens import IdTokenSource
try:
    IdTokenSource(target_service_account={account!r}).token("a")
except Unavailable as refused:
    print(refused.detail)
"""


def test_google_auth_mints_from_the_metadata_server(google: str, in_new_process: Callable[..., str]) -> None:
    token = in_new_process(PRINT_TOKEN, GCE_METADATA_HOST=google, GCE_METADATA_IP=google)
    assert expiry_of(token) == 4_000_000_000


def test_without_any_identity_the_error_tells_what_to_do(in_new_process: Callable[..., str]) -> None:
    told = in_new_process(
        PRINT_REFUSAL.format(account=""),
        NO_GCE_CHECK="true",
        GCE_METADATA_HOST="127.0.0.1:1",
        GCE_METADATA_IP="127.0.0.1:1",
    )
    assert "DefaultCredentialsError" in told
    assert "GCE_METADATA_HOST" in told


def test_without_own_credentials_impersonation_tells_what_to_do(in_new_process: Callable[..., str]) -> None:
    told = in_new_process(PRINT_REFUSAL.format(account="dev@p.iam.gserviceaccount.com"), NO_GCE_CHECK="true")
    assert "gcloud auth application-default login" in told


def test_google_auth_impersonates_with_the_credentials_of_a_user(
    google: str, in_new_process: Callable[..., str], tmp_path: Path
) -> None:
    own = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    (tmp_path / "own.json").write_text(json.dumps(own))
    code = f"""
import google.auth.iam, google.oauth2.credentials
from agent_mesh.platform.id_tokens import IdTokenSource
google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT = "http://{google}/token"
google.auth.iam._IAM_IDTOKEN_ENDPOINT = "http://{google}/{{}}:generateIdToken"
print(IdTokenSource(target_service_account="dev@p.iam.gserviceaccount.com").token("a"))
"""
    token = in_new_process(code, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "own.json"), NO_GCE_CHECK="true")
    assert expiry_of(token) == 4_000_000_001


def test_importing_verifier_and_source_loads_no_crypto_and_no_http_client(in_new_process: Callable[..., str]) -> None:
    modules = "agent_mesh.platform.oidc, agent_mesh.platform.id_tokens, agent_mesh.webhooks"
    loaded = in_new_process(f"import sys, {modules}; print(*sys.modules)").split()
    assert not {"google.auth", "cryptography", "requests", "urllib3", "idna"} & set(loaded)
