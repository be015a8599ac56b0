"""Signatures: the specification's own vector, the official library on both sides, rotation, and what is refused."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.webhooks import SecretError, SignatureError, new_secret, signature_headers, verify
from agent_mesh.webhooks._signature import WebhookSecret, parse_secrets

NOW = 1_800_000_000.0
BODY = b'{"type":"mesh.task.succeeded","data":{"n":1.0}}'
OLD, NEW, FOREIGN = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"o", b"n", b"f"))


def signed(*secrets: str, body: bytes = BODY, sent_at: float = NOW, message_id: str = "task_1") -> dict[str, str]:
    return signature_headers(message_id, sent_at, body, parse_secrets(secrets))


def test_the_signature_is_the_one_of_the_specification() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed(
        secret, body=b'{"test": 2432232314}', sent_at=1614265330, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek"
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_official_library_accepts_what_we_sign() -> None:
    headers = signed(NEW, OLD, sent_at=time.time())
    for secret in (NEW, OLD):
        assert standardwebhooks.Webhook(secret).verify(BODY, headers) == {
            "type": "mesh.task.succeeded",
            "data": {"n": 1.0},
        }
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(FOREIGN).verify(BODY, headers)


def test_we_accept_what_the_official_library_signs() -> None:
    signature = standardwebhooks.Webhook(NEW).sign("task_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    headers = {"Webhook-Id": "task_1", "Webhook-Timestamp": str(int(NOW)), "Webhook-Signature": signature}
    verify(headers, BODY, [NEW], NOW)


def test_a_rotation_overlaps_on_either_side() -> None:
    verify(signed(NEW, OLD), BODY, [OLD], NOW)
    verify(signed(OLD), BODY, [NEW, OLD], NOW)
    assert len(signed(NEW, OLD)["webhook-signature"].split(" ")) == 2


@pytest.mark.parametrize("delay", [-300, -1, 0, 300])
def test_five_minutes_of_delay_are_tolerated(delay: int) -> None:
    verify(signed(NEW), BODY, [NEW], NOW + delay)


@pytest.mark.parametrize("delay", [-301, 301, 86400])
def test_an_old_or_early_message_is_refused(delay: int) -> None:
    with pytest.raises(SignatureError, match="more than 300 s"):
        verify(signed(NEW), BODY, [NEW], NOW + delay)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "task_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(int(NOW) + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": f"{NOW}"},
        {"webhook-timestamp": "\u0661\u0662"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,ä"},
        {"webhook-signature": "v1,\ud800"},
        {"webhook-signature": "v1," + "A" * 5000},
        {"webhook-signature": signed(FOREIGN)["webhook-signature"]},
        {"webhook-signature": signed(NEW)["webhook-signature"].replace("v1,", "v1a,")},
        {"webhook-signature": signed(NEW)["webhook-signature"].removeprefix("v1,")},
    ],
    ids=lambda change: ascii(change)[:70],
)
def test_a_changed_header_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        verify({**signed(NEW), **change}, BODY, [NEW], NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_every_header_is_needed(missing: str) -> None:
    headers = {name: value for name, value in signed(NEW).items() if name != missing}
    with pytest.raises(SignatureError):
        verify(headers, BODY, [NEW], NOW)


@given(body=st.binary())
def test_another_body_is_refused(body: bytes) -> None:
    verify(signed(NEW, body=body), body, [NEW], NOW)
    with pytest.raises(SignatureError):
        verify(signed(NEW, body=body + b" "), body, [NEW], NOW)


@given(headers=st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()))
def test_no_headers_raise_anything_but_the_refusal(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        verify(headers, BODY, [NEW], NOW)


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\r\nb", "ä", "x" * 257], ids=lambda text: ascii(text)[:20])
def test_a_message_id_that_could_be_read_as_something_else_is_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="message id"):
        signed(NEW, message_id=message_id)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_!!!!",
        "whsec_MfKQ9r8GKYqr!!!!TwjUPD8ILPZIo2LaLaSw",
        "whsec_c2hvcnQ=",
        "whsec_" + "QUFB" * 22,
        "whsec_ä",
    ],
)
def test_a_weak_or_broken_secret_is_refused_without_being_told(secret: str) -> None:
    with pytest.raises(SecretError) as refused:
        parse_secrets([NEW, secret])
    assert len(secret) < 7 or secret[6:] not in str(refused.value)


@pytest.mark.parametrize("secrets", [[], (), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], ids=["list", "tuple", "text"])
def test_without_a_list_of_secrets_nothing_is_signed(secrets: list[str] | str) -> None:
    with pytest.raises(SecretError, match="WEBHOOK_SECRETS"):
        parse_secrets(secrets)


def test_a_secret_without_padding_is_the_same() -> None:
    assert parse_secrets([NEW.rstrip("=")]) == parse_secrets([NEW])


def test_a_secret_does_not_show_itself() -> None:
    key = base64.b64decode(NEW.removeprefix("whsec_"))
    assert repr(WebhookSecret(key)) == "WebhookSecret()"


def test_new_secrets_differ_and_can_be_used() -> None:
    assert new_secret() != new_secret()
    assert len(parse_secrets([new_secret()])[0].key) == 32
