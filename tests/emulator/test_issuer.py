from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.auth.exceptions
import google.auth.jwt
import pytest
import urllib3

from emulator.errors import StartError
from emulator.oidc.issuer import Issuer
from emulator.oidc.keys import SigningKey
from emulator.oidc.metadata import MetadataServer

EMAIL = "alpha@mesh-local.iam.gserviceaccount.com"
HTTP = urllib3.PoolManager()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.load_or_create(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture
def issuer(key: SigningKey) -> Iterator[Issuer]:
    with Issuer(key) as running:
        yield running


@pytest.fixture
def metadata(issuer: Issuer) -> Iterator[MetadataServer]:
    with MetadataServer("mesh-local", EMAIL, issuer.mint) as running:
        yield running


def decode(issuer: Issuer, token: str, audience: str = "http://a") -> dict[str, Any]:
    certs = HTTP.request("GET", issuer.certs_url).json()
    return dict(google.auth.jwt.decode(token, certs=certs, audience=audience))  # type: ignore[no-untyped-call]


def test_google_auth_verifies_a_minted_token(issuer: Issuer) -> None:
    claims = decode(issuer, issuer.mint("http://a", EMAIL))
    assert claims["iss"] == issuer.url
    assert (claims["email"], claims["email_verified"]) == (EMAIL, True)
    assert claims["exp"] == claims["iat"] + 3600
    assert claims["azp"] == claims["sub"]


def test_google_auth_refuses_another_audience_and_an_expired_token(issuer: Issuer) -> None:
    with pytest.raises(google.auth.exceptions.InvalidValue):
        decode(issuer, issuer.mint("http://a", EMAIL), "http://b")
    with pytest.raises(google.auth.exceptions.InvalidValue):
        decode(issuer, issuer.mint("http://a", EMAIL, expires_in=-60))


def test_certificates_may_be_cached(issuer: Issuer) -> None:
    assert "max-age=" in HTTP.request("GET", issuer.certs_url).headers["Cache-Control"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_token_endpoint_mints(issuer: Issuer, method: str) -> None:
    fields = {"audience": "http://a", "email": EMAIL, "expires_in": "60"}
    if method == "GET":
        answer = HTTP.request_encode_url(method, issuer.token_url, fields=fields).json()
    else:
        answer = HTTP.request_encode_body(method, issuer.token_url, fields=fields, encode_multipart=False).json()
    assert answer["expires_in"] == 60
    assert decode(issuer, answer["id_token"])["email"] == EMAIL


def test_the_token_endpoint_can_answer_in_plain_text(issuer: Issuer) -> None:
    fields = {"audience": "http://a", "email": EMAIL, "format": "text"}
    assert decode(issuer, HTTP.request("GET", issuer.token_url, fields=fields).data.decode())


def test_the_token_endpoint_says_what_is_missing(issuer: Issuer) -> None:
    for seconds in ("soon", "--5", "9" * 5000):
        fields = {"audience": "a", "email": EMAIL, "expires_in": seconds}
        assert HTTP.request("GET", issuer.token_url, fields=fields).status == 400
    for fields in ({"email": EMAIL}, {"audience": "a"}):
        assert HTTP.request("GET", issuer.token_url, fields=fields).status == 400
    assert HTTP.request("GET", issuer.url + "/else").status == 404
    assert HTTP.request("GET", issuer.url + "/healthz").status == 200


def test_a_foreign_host_name_and_a_large_body_are_refused(issuer: Issuer) -> None:
    assert HTTP.request("GET", issuer.certs_url, headers={"Host": "evil.example:80"}).status == 403
    assert HTTP.request("POST", issuer.token_url, body=b"x" * 70_000).status == 413


def test_the_key_survives_a_restart_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "state" / "key.pem"
    first = SigningKey.load_or_create(file)
    assert file.stat().st_mode & 0o777 == 0o600
    again = SigningKey.load_or_create(file)
    assert again.certificate == first.certificate
    token = first.sign({"aud": "a", "iat": 0, "exp": 2**40})
    certs = {again.key_id: again.certificate}
    assert google.auth.jwt.decode(token, certs=certs, audience="a")  # type: ignore[no-untyped-call]


def test_a_broken_key_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("nonsense")
    with pytest.raises(StartError, match=r"key\.pem holds no key"):
        SigningKey.load_or_create(file)


def test_unmodified_fetch_id_token_mints_from_the_metadata_server(metadata: MetadataServer, issuer: Issuer) -> None:
    code = (
        "import google.auth.transport.requests as t, google.oauth2.id_token as i;"
        "print(i.fetch_id_token(t.Request(), 'http://a'))"
    )
    hosts = {"GCE_METADATA_HOST": metadata.address, "GCE_METADATA_IP": metadata.address}
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", **hosts}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert decode(issuer, done.stdout.strip())["email"] == EMAIL


@pytest.fixture
def ask(metadata: MetadataServer) -> Callable[[str], urllib3.BaseHTTPResponse]:
    root = f"http://{metadata.address}/computeMetadata/v1"
    return lambda path: HTTP.request("GET", root + path, headers={"Metadata-Flavor": "Google"})


def test_the_metadata_server_answers_like_googles(ask: Callable[[str], urllib3.BaseHTTPResponse]) -> None:
    account = json.loads(ask("/instance/service-accounts/default/?recursive=true").data)
    assert account["email"] == EMAIL
    assert ask("/project/project-id").data == b"mesh-local"
    assert ask(f"/instance/service-accounts/{EMAIL}/email").data.decode() == EMAIL
    assert ask("/instance/service-accounts/default/scopes").status == 200
    assert json.loads(ask("/instance/service-accounts/default/token").data)["token_type"] == "Bearer"
    assert ask("/instance/service-accounts/default/identity").status == 400
    assert ask("/instance/service-accounts/default/nothing").status == 404
    assert ask("/nothing").status == 404
    assert all(ask(path).headers["Metadata-Flavor"] == "Google" for path in ("/nothing", "/project/project-id"))


def test_the_metadata_server_wants_its_header(metadata: MetadataServer) -> None:
    assert HTTP.request("GET", f"http://{metadata.address}/computeMetadata/v1/project/project-id").status == 403
    assert HTTP.request("GET", f"http://{metadata.address}/").status == 200
