"""Signing in at the local issuer: the page, the code, and the exchange that PKCE guards."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import google.auth.jwt
import pytest
import urllib3

from emulator.oidc.issuer import Issuer
from emulator.oidc.keys import SigningKey

DEVELOPER = "developer@mesh-local.iam.gserviceaccount.com"
HTTP = urllib3.PoolManager()
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
BACK = "http://127.0.0.1:8080/auth/callback"
ASKED = {
    "client_id": "dashboard",
    "redirect_uri": BACK,
    "response_type": "code",
    "scope": "openid email",
    "state": "s 1&é",
    "nonce": "n1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


class HandClock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


class Forms(HTMLParser):
    """The fields of each form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.forms.append({})
        elif tag in {"input", "button"} and given.get("name"):
            self.forms[-1][str(given["name"])] = given.get("value") or ""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.load_or_create(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def issuer(key: SigningKey, clock: HandClock) -> Iterator[Issuer]:
    with Issuer(key, clock=clock, usual=DEVELOPER) as running:
        yield running


def ask(issuer: Issuer, **changes: str) -> urllib3.BaseHTTPResponse:
    return HTTP.request("GET", f"{issuer.authorize_url}?{urlencode({**ASKED, **changes})}", redirect=False)


def answered(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    """What the browser brings back to the client."""
    assert response.status == 302, response.data
    target = urlsplit(response.headers["Location"])
    assert f"{target.scheme}://{target.netloc}{target.path}" == BACK
    return {name: text for name, (text,) in parse_qs(target.query).items()}


def exchange(issuer: Issuer, code: str, **changes: str) -> tuple[int, dict[str, Any]]:
    fields = {
        "grant_type": "authorization_code",
        "client_id": "dashboard",
        "client_secret": "kept",
        "redirect_uri": BACK,
        "code": code,
        "code_verifier": VERIFIER,
        **changes,
    }
    response = HTTP.request_encode_body("POST", issuer.token_url, fields=fields, encode_multipart=False)
    return response.status, response.json()


def test_the_page_lets_a_person_continue_as_the_developer_or_as_somebody_else(issuer: Issuer) -> None:
    page = ask(issuer, login_hint="ann@example.com")
    assert page.status == 200
    usual, other, cancel = Forms(page.data.decode()).forms
    assert usual["account"] == DEVELOPER
    assert other["account"] == "ann@example.com"
    for form, back in ((usual, {"code"}), (other, {"code"}), (cancel, {"error"})):
        response = HTTP.request("GET", f"{issuer.authorize_url}?{urlencode(form)}", redirect=False)
        assert set(answered(response)) == {"state"} | back
        assert answered(response)["state"] == ASKED["state"]


def test_the_page_runs_no_script_and_escapes_what_it_was_given(issuer: Issuer) -> None:
    page = ask(issuer, client_id='"><script>alert(1)</script>', account="<b>no e-mail</b>")
    assert page.status == 200
    assert b"<script" not in page.data
    assert b"<b>" not in page.data
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    style = re.search(r"<style>(.*?)</style>", page.data.decode(), flags=re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy


def test_without_a_prompt_the_hinted_account_or_the_developer_is_signed_in(issuer: Issuer, key: SigningKey) -> None:
    for hint, email in (({"login_hint": "ann@example.com"}, "ann@example.com"), ({}, DEVELOPER)):
        code = answered(ask(issuer, prompt="none", **hint))["code"]
        status, body = exchange(issuer, code)
        assert status == 200
        certs = {key.key_id: key.certificate}
        claims = google.auth.jwt.decode(  # type: ignore[no-untyped-call]
            body["id_token"], certs=certs, audience="dashboard", clock_skew_in_seconds=2**40
        )
        assert (claims["email"], claims["nonce"], claims["azp"]) == (email, "n1", "dashboard")


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1:8080/\r\nSet-Cookie: planted=1",
        "http://127.0.0.1:8080/\u2028",
        "",
        "https://127.0.0.1:8080/",
        "http://evil.example/",
        "http://127.0.0.1.evil.example:80/",
        "http://127.0.0.1:80@evil.example/",
        "http://evil.example\\@127.0.0.1:80/",
        "//127.0.0.1:80/",
        "javascript:alert(1)",
        "http://127.0.0.1:x/",
        "http://[::1/",
        "http://127.0.0.1:8080/#fragment",
    ],
)
def test_nobody_is_sent_to_another_machine(issuer: Issuer, redirect_uri: str) -> None:
    for more in ({}, {"prompt": "none"}, {"cancel": "1"}, {"response_type": "token"}):
        response = ask(issuer, redirect_uri=redirect_uri, **more)
        assert response.status == 400
        assert "Location" not in response.headers


@pytest.mark.parametrize(
    "changes",
    [
        {"response_type": "token"},
        {"scope": "email"},
        {"code_challenge": ""},
        {"code_challenge": "short"},
        {"code_challenge_method": "plain"},
    ],
)
def test_a_client_hears_what_it_asked_for_wrongly(issuer: Issuer, changes: dict[str, str]) -> None:
    assert answered(ask(issuer, prompt="none", **changes))["error"] == "invalid_request"


def test_a_code_is_good_once_even_where_its_first_use_failed(issuer: Issuer) -> None:
    code = answered(ask(issuer, prompt="none"))["code"]
    assert exchange(issuer, code)[0] == 200
    assert exchange(issuer, code) == (
        400,
        {"error": "invalid_grant", "error_description": "the code is unknown, used or older than a minute"},
    )
    second = answered(ask(issuer, prompt="none"))["code"]
    assert exchange(issuer, second, code_verifier="w" * 43)[1]["error"] == "invalid_grant"
    assert exchange(issuer, second)[1]["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"code_verifier": "w" * 43}, (400, "invalid_grant")),
        ({"code_verifier": ""}, (400, "invalid_grant")),
        ({"client_id": "another"}, (400, "invalid_grant")),
        ({"redirect_uri": BACK + "/"}, (400, "invalid_grant")),
        ({"client_secret": ""}, (401, "invalid_client")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"code": "made-up"}, (400, "invalid_grant")),
    ],
)
def test_only_who_asked_gets_the_token(issuer: Issuer, changes: dict[str, str], refusal: tuple[int, str]) -> None:
    code = answered(ask(issuer, prompt="none"))["code"]
    status, body = exchange(issuer, **({"code": code} | changes))
    assert (status, body["error"]) == refusal
    assert "id_token" not in body


def test_a_code_lives_for_a_minute(issuer: Issuer, clock: HandClock) -> None:
    code = answered(ask(issuer, prompt="none"))["code"]
    clock.seconds += 60
    assert exchange(issuer, code)[1]["error"] == "invalid_grant"


def test_a_code_is_exchanged_by_post_alone(issuer: Issuer) -> None:
    code = answered(ask(issuer, prompt="none"))["code"]
    fields = {"grant_type": "authorization_code", "code": code}
    assert HTTP.request("GET", issuer.token_url, fields=fields).json()["error"] == "unsupported_grant_type"
    assert exchange(issuer, code)[0] == 200
