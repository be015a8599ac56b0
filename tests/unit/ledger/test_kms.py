"""A key in Cloud KMS signs checkpoints, and what is not its signature never gets into the ledger."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.ledger import sign_note, verifier_key, verify_note
from agent_mesh.ledger.errors import MalformedKey
from agent_mesh.ledger.kms import KmsSigner, Patience
from tests.unit.ledger.stub_server import Answer, Asked, StubServer

NAME = "ledger.example/mesh"
KEY = "projects/p/locations/europe-west1/keyRings/mesh-dev/cryptoKeys/checkpoints/cryptoKeyVersions/1"
TEXT = "ledger.example/mesh\n1\nqqq=\n"


def google_error(status: int, code: str) -> Answer:
    return Answer(status, json.dumps({"error": {"code": status, "message": "words", "status": code}}).encode())


@dataclass
class CloudKms:
    """Answers as the API documents; `wrong` takes the place of its next answers."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    wrong: list[Answer] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        if self.wrong:
            return self.wrong.pop(0)
        if (asked.method, asked.path) == ("GET", f"/v1/{KEY}/publicKey"):
            return Answer(200, json.dumps(self.public_key()).encode())
        assert (asked.method, asked.path) == ("POST", f"/v1/{KEY}:asymmetricSign")
        message = base64.b64decode(json.loads(asked.body)["data"], validate=True)
        return self.signed(self.key.sign(message))

    def public_key(self, **changes: str) -> dict[str, str]:
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return {"pem": pem, "algorithm": "EC_SIGN_ED25519", "name": KEY, "protectionLevel": "SOFTWARE", **changes}

    @staticmethod
    def signed(signature: bytes) -> Answer:
        answer = {"signature": base64.b64encode(signature).decode(), "name": KEY, "protectionLevel": "SOFTWARE"}
        return Answer(200, json.dumps(answer).encode())


@pytest.fixture
def kms() -> CloudKms:
    return CloudKms()


@pytest.fixture
def server(kms: CloudKms) -> Iterator[StubServer]:
    with StubServer(kms.answer) as server:
        yield server


@pytest.fixture
def signer(server: StubServer) -> Iterator[KmsSigner]:
    patience = Patience(call_s=20.0, whole_s=60.0, first_pause_s=0.01)
    with requests.Session() as session:
        yield KmsSigner(NAME, KEY, session=session, endpoint=server.url, patience=patience)


def test_nothing_is_asked_before_a_signature_is_needed(signer: KmsSigner, server: StubServer) -> None:
    assert signer.name == NAME
    assert server.asked == []


def test_a_note_is_signed_and_verifies(signer: KmsSigner, server: StubServer) -> None:
    note = sign_note(TEXT, signer)
    verify_note(note, [verifier_key(signer)])
    sign_note(TEXT, signer)
    assert [asked.method for asked in server.asked] == ["GET", "POST", "POST"]  # the public key is asked for once


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(signer: KmsSigner, kms: CloudKms, status: int) -> None:
    kms.wrong = [google_error(status, "UNAVAILABLE")]
    verify_note(sign_note(TEXT, signer), [verifier_key(signer)])


def test_what_does_not_pass_in_time_is_unavailable(server: StubServer, kms: CloudKms) -> None:
    kms.wrong = [google_error(503, "UNAVAILABLE")] * 100
    patience = Patience(call_s=20.0, whole_s=0.3, first_pause_s=0.02)
    with requests.Session() as session, pytest.raises(Unavailable, match="503: UNAVAILABLE, words") as refused:
        KmsSigner(NAME, KEY, session=session, endpoint=server.url, patience=patience).sign(b"message")
    assert refused.value.retry_after_s == 1


def test_a_server_that_is_not_there_is_unavailable() -> None:
    patience = Patience(call_s=0.5, whole_s=0.1, first_pause_s=0.01)
    with requests.Session() as session, pytest.raises(Unavailable, match="cannot be reached"):
        KmsSigner(NAME, KEY, session=session, endpoint="http://localhost:9", patience=patience).sign(b"message")


@pytest.mark.parametrize(("status", "code"), [(403, "PERMISSION_DENIED"), (404, "NOT_FOUND"), (400, "FAILED")])
def test_a_refusal_is_asked_once_and_logged_for_who_can_mend_it(
    signer: KmsSigner,
    kms: CloudKms,
    server: StubServer,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: str,
) -> None:
    kms.wrong = [google_error(status, code)]
    with caplog.at_level(logging.ERROR, "agent_mesh"), pytest.raises(Unavailable):
        signer.sign(b"message")
    assert len(server.asked) == 1
    assert f"Cloud KMS answered {status}: {code}, words" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "EC_SIGN_P256_SHA256"},
        {"name": KEY.replace("checkpoints", "other")},
        {"pem": "no PEM"},
        {"pem": ""},
        {
            "pem": ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        },
    ],
    ids=["algorithm", "other key", "no PEM", "empty", "P-256"],
)
def test_a_key_that_is_not_the_one_that_is_meant_is_refused(
    signer: KmsSigner, kms: CloudKms, changes: dict[str, str]
) -> None:
    kms.wrong = [Answer(200, json.dumps(kms.public_key(**changes)).encode())]
    with pytest.raises(Unavailable):
        _ = signer.public


def test_a_signature_of_another_key_or_message_is_refused(signer: KmsSigner, kms: CloudKms) -> None:
    assert signer.public
    for signature in (Ed25519PrivateKey.generate().sign(b"message"), kms.key.sign(b"other"), b"", bytes(64)):
        kms.wrong = [kms.signed(signature)]
        with pytest.raises(Unavailable):
            signer.sign(b"message")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"signature": 7}', b'{"signature": "%%"}'])
def test_an_answer_that_is_no_signature_is_refused(signer: KmsSigner, kms: CloudKms, body: bytes) -> None:
    assert signer.public
    kms.wrong = [Answer(200, body)]
    with pytest.raises(Unavailable):
        signer.sign(b"message")


@pytest.mark.parametrize(
    ("name", "key"),
    [(NAME, KEY.partition("/cryptoKeyVersions")[0]), (NAME, f"{KEY}/"), (NAME, f"{KEY}\n"), (NAME, ""), ("a b", KEY)],
)
def test_what_names_no_key_version_is_refused_before_anything_is_asked(name: str, key: str) -> None:
    with pytest.raises(MalformedKey):
        KmsSigner(name, key)
