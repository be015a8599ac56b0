"""Attacks on the one verifier of ID tokens, and what it lets in."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.contracts.problems import Unauthenticated, Unavailable
from agent_mesh.platform.certificates import CertificateDocument, CertificatesError, CertificateStore
from agent_mesh.platform.oidc import REFUSAL, REMOVED_SIGNATURE, Identity, TokenVerifier

NOW = 1_800_000_000
AUDIENCE = "https://orchestrator.example.com"
AUDIENCES = frozenset({AUDIENCE})
CALLER = "caller@project.iam.gserviceaccount.com"
KEY_ID = "key-1"

Claims = dict[str, object]
Verify = Callable[[str | None], Identity]


class StoppedClock:
    """A clock that a test moves by hand."""

    def __init__(self, now: float = NOW) -> None:
        self.seconds = float(now)

    def now(self) -> float:
        return self.seconds


def quoted(value: object) -> str:
    return ascii(value) if len(ascii(value)) < 60 else f"{ascii(value)[:40]}-of-{len(ascii(value))}-characters"


def segment(content: bytes | Mapping[str, object]) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True)
class Issuer:
    """Signs whatever a test asks for with Google's (here: our own) key."""

    key: rsa.RSAPrivateKey
    certificate: str

    def token(self, claims: bytes | Mapping[str, object], header: bytes | Mapping[str, object] | None = None) -> str:
        signed = f"{segment(HEADER if header is None else header)}.{segment(claims)}"
        return f"{signed}.{segment(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


HEADER = {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}


def claims(**changes: object) -> Claims:
    valid: Claims = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "azp": "1234567890",
        "sub": "1234567890",
        "email": CALLER,
        "email_verified": True,
        "iat": NOW - 60,
        "exp": NOW + 3540,
    }
    return {**valid, **changes}


def claims_without(name: str) -> Claims:
    return {key: value for key, value in claims().items() if key != name}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=9))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    return Issuer(key, certificate.decode())


@pytest.fixture(scope="module")
def store(issuer: Issuer) -> CertificateStore:
    document = CertificateDocument(json.dumps({KEY_ID: issuer.certificate}).encode())
    return CertificateStore("https://issuer.test/certs", fetch=lambda _url: document, clock=StoppedClock())


@pytest.fixture(scope="module")
def verify(store: CertificateStore) -> Verify:
    verifier = TokenVerifier(store, clock=StoppedClock())
    return lambda header: verifier.verify(header, AUDIENCES)


@pytest.fixture
def refuses(verify: Verify) -> Callable[[str | None], None]:
    def check(header: str | None) -> None:
        with pytest.raises(Unauthenticated) as refused:
            verify(header)
        assert refused.value.detail == REFUSAL
        assert refused.value.__context__ is None, "the context could carry the token into a log"

    return check


def test_a_valid_token_gives_its_owner(verify: Verify, issuer: Issuer) -> None:
    assert verify(f"Bearer {issuer.token(claims())}") == Identity(CALLER, "1234567890")


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer  "])
def test_the_scheme_may_be_written_as_the_rfc_allows(verify: Verify, issuer: Issuer, scheme: str) -> None:
    assert verify(scheme + issuer.token(claims())).email == CALLER


@pytest.mark.parametrize("issuer_name", ["accounts.google.com", "https://accounts.google.com"])
def test_both_names_of_google_are_accepted(verify: Verify, issuer: Issuer, issuer_name: str) -> None:
    assert verify(f"Bearer {issuer.token(claims(iss=issuer_name))}").email == CALLER


@pytest.mark.parametrize("changes", [{"iat": NOW + 9, "exp": NOW + 60}, {"exp": NOW - 9}, {"exp": NOW + 60.5}])
def test_ten_seconds_of_skew_and_fractions_are_tolerated(verify: Verify, issuer: Issuer, changes: Claims) -> None:
    assert verify(f"Bearer {issuer.token(claims(**changes))}").email == CALLER


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer garbage",
        "Bearer a.b",
        "Bearer a.b.c",
        "Bearer a.b.c.d",
        "Bearer ..",
        "Bearer \x00.\x00.\x00",
        "Bearer ä.ö.ü",
        "Bearer " + "[" * 4000,
        "Bearer " + "a" * 100_000,
        f"Bearer {segment(b'[]')}.{segment(b'{}')}.c",
        f"Bearer {segment(b'null')}.{segment(b'{}')}.cc",
        f"Bearer {segment(b'{' * 9)}.{segment(b'{}')}.cc",
        f"Bearer {segment(b'[' * 2900)}.{segment(b'{}')}.cc",
    ],
    ids=quoted,
)
def test_what_is_no_signed_token_is_refused(refuses: Callable[[str | None], None], header: str | None) -> None:
    refuses(header)


def test_text_around_the_token_is_refused(refuses: Callable[[str | None], None], issuer: Issuer) -> None:
    token = issuer.token(claims())
    for header in (
        token,
        f"Bearer {token}\n",
        f"Bearer {token}, Bearer {token}",
        f"Bearer\t{token}",
        f"Bearer{token}",
    ):
        refuses(header)


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "ES256", "RS512", "rs256", None, 1, ["RS256"]], ids=quoted)
def test_another_algorithm_than_rs256_is_refused(
    refuses: Callable[[str | None], None], issuer: Issuer, alg: object
) -> None:
    refuses(f"Bearer {issuer.token(claims(), {**HEADER, 'alg': alg})}")


def test_an_unsigned_token_is_refused(refuses: Callable[[str | None], None]) -> None:
    refuses(f"Bearer {segment({**HEADER, 'alg': 'none'})}.{segment(claims())}.")
    refuses(f"Bearer {segment(HEADER)}.{segment(claims())}.{REMOVED_SIGNATURE}")


@pytest.mark.parametrize("alg", ["HS256", "RS256"])
def test_an_hmac_keyed_with_the_public_key_is_refused(
    refuses: Callable[[str | None], None], issuer: Issuer, alg: str
) -> None:
    signed = f"{segment({**HEADER, 'alg': alg})}.{segment(claims())}"
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (public, issuer.certificate.encode()):
        mac = hmac.HMAC(secret, hashes.SHA256())
        mac.update(signed.encode())
        refuses(f"Bearer {signed}.{segment(mac.finalize())}")


def test_the_signature_of_another_key_is_refused(refuses: Callable[[str | None], None], issuer: Issuer) -> None:
    stranger = Issuer(rsa.generate_private_key(public_exponent=65537, key_size=2048), issuer.certificate)
    refuses(f"Bearer {stranger.token(claims())}")


def test_claims_exchanged_under_a_valid_signature_are_refused(
    refuses: Callable[[str | None], None], issuer: Issuer
) -> None:
    header, _, signature = issuer.token(claims()).split(".")
    refuses(f"Bearer {header}.{segment(claims(email='root@example.com'))}.{signature}")


@pytest.mark.parametrize("key_id", ["key-2", "", None, 7, ["key-1"], {"a": 1}], ids=quoted)
def test_a_key_id_that_google_does_not_have_is_refused(
    refuses: Callable[[str | None], None], issuer: Issuer, key_id: object
) -> None:
    refuses(f"Bearer {issuer.token(claims(), {**HEADER, 'kid': key_id})}")


def test_a_token_that_names_no_key_is_refused(refuses: Callable[[str | None], None], issuer: Issuer) -> None:
    refuses(f"Bearer {issuer.token(claims(), {'alg': 'RS256'})}")


def test_critical_header_extensions_are_refused(refuses: Callable[[str | None], None], issuer: Issuer) -> None:
    refuses(f"Bearer {issuer.token(claims(), {**HEADER, 'crit': ['b64'], 'b64': False})}")


WRONG_VALUES: dict[str, list[object]] = {
    "exp": [NOW - 10, str(NOW + 3000), None, True, [NOW + 60], float("nan"), float("inf"), 10**400, NOW + 86400],
    "iat": [NOW + 11, str(NOW), False, float("nan"), float("-inf"), -(10**400), -1, NOW - 86400],
    "nbf": [NOW + 11, "now", None, True],
    "iss": ["https://evil.example.com", ["https://accounts.google.com"], "https://accounts.google.com/", "", None],
    "aud": ["https://other.example.com", AUDIENCE + "/", AUDIENCE[:-1], AUDIENCE.upper(), [AUDIENCE], "", None],
    "email_verified": ["true", 1, False, None],
    "email": ["", None, [CALLER], "a@b\ud800", "a@b\nc"],
    "sub": ["", None, 7],
}


@pytest.mark.parametrize(
    "changes", [{name: value} for name, values in WRONG_VALUES.items() for value in values], ids=quoted
)
def test_a_signed_token_with_a_wrong_claim_is_refused(
    refuses: Callable[[str | None], None], issuer: Issuer, changes: Claims
) -> None:
    refuses(f"Bearer {issuer.token(claims(**changes))}")


@pytest.mark.parametrize(("issued", "expires"), [(-7200, -3600), (11, 60), (-60, 86400), (-3600, 101), (5, 0), (5, 5)])
def test_a_signed_token_that_is_out_of_its_time_or_lives_too_long_is_refused(
    refuses: Callable[[str | None], None], issuer: Issuer, issued: int, expires: int
) -> None:
    refuses(f"Bearer {issuer.token(claims(iat=NOW + issued, exp=NOW + expires))}")


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "email", "email_verified", "iat", "exp"])
def test_every_claim_is_needed(refuses: Callable[[str | None], None], issuer: Issuer, name: str) -> None:
    refuses(f"Bearer {issuer.token(claims_without(name))}")


@pytest.mark.parametrize("payload", [b"[]", b"null", b"1", b"", b"{", b"\xff", b"[" * 975, b'{"a":' * 590], ids=quoted)
def test_a_payload_that_is_no_object_is_refused(
    refuses: Callable[[str | None], None], issuer: Issuer, payload: bytes
) -> None:
    refuses(f"Bearer {issuer.token(payload)}")
    refuses(f"Bearer {segment(HEADER)}.{segment(payload)}.cc")


def test_a_token_over_4096_bytes_is_refused_and_one_below_is_not(
    verify: Verify, refuses: Callable[[str | None], None], issuer: Issuer
) -> None:
    refuses(f"Bearer {issuer.token(claims(padding='x' * 3000))}")
    large = issuer.token(claims(padding="x" * 2400))
    assert 3900 < len(large) <= 4096
    assert verify(f"Bearer {large}").email == CALLER


@pytest.mark.parametrize("audiences", [(), frozenset(), "", AUDIENCE, ("",)])
def test_an_endpoint_without_audience_lets_nobody_in(
    store: CertificateStore, issuer: Issuer, audiences: tuple[str, ...] | str
) -> None:
    for aud in ("", "h", AUDIENCE):  # "h" is a member of a bare text that was taken for a collection
        with pytest.raises(Unauthenticated):
            TokenVerifier(store, clock=StoppedClock()).verify(f"Bearer {issuer.token(claims(aud=aud))}", audiences)


def test_an_issuer_given_as_bare_text_is_not_matched_by_its_parts(store: CertificateStore, issuer: Issuer) -> None:
    verifier = TokenVerifier(store, issuers="https://accounts.google.com", clock=StoppedClock())
    with pytest.raises(Unauthenticated):
        verifier.verify(f"Bearer {issuer.token(claims(iss='g'))}", AUDIENCES)


def test_a_local_issuer_replaces_google(store: CertificateStore, issuer: Issuer) -> None:
    verifier = TokenVerifier(store, issuers={"http://localhost:9000"}, clock=StoppedClock())
    assert verifier.verify(f"Bearer {issuer.token(claims(iss='http://localhost:9000'))}", AUDIENCES).email == CALLER
    with pytest.raises(Unauthenticated):
        verifier.verify(f"Bearer {issuer.token(claims())}", AUDIENCES)


def test_a_token_expires_with_the_clock(store: CertificateStore, issuer: Issuer) -> None:
    clock = StoppedClock()
    verifier = TokenVerifier(store, clock=clock)
    header = f"Bearer {issuer.token(claims())}"
    assert verifier.verify(header, AUDIENCES).email == CALLER
    clock.seconds += 3551
    with pytest.raises(Unauthenticated):
        verifier.verify(header, AUDIENCES)


def test_without_certificates_the_answer_is_unavailable(issuer: Issuer) -> None:
    def down(_url: str) -> CertificateDocument:
        raise CertificatesError("connection refused")

    verifier = TokenVerifier(CertificateStore("https://issuer.test", fetch=down), clock=StoppedClock())
    with pytest.raises(Unavailable):
        verifier.verify(f"Bearer {issuer.token(claims())}", AUDIENCES)
    with pytest.raises(Unauthenticated):
        verifier.verify(None, AUDIENCES)


def test_a_removed_signature_is_accepted_only_under_its_setting_and_with_every_claim_checked(
    store: CertificateStore, issuer: Issuer
) -> None:
    behind_iam = TokenVerifier(store, accept_removed_signature=True, clock=StoppedClock())

    def removed(**changes: object) -> str:
        return f"Bearer {segment(HEADER)}.{segment(claims(**changes))}.{REMOVED_SIGNATURE}"

    assert behind_iam.verify(removed(), AUDIENCES).email == CALLER
    assert behind_iam.verify(f"Bearer {issuer.token(claims())}", AUDIENCES).email == CALLER
    wrong: list[Claims] = [{"aud": "other"}, {"iss": "other"}, {"exp": NOW - 60}, {"email_verified": False}]
    for changes in wrong:
        with pytest.raises(Unauthenticated):
            behind_iam.verify(removed(**changes), AUDIENCES)
    other_algorithm = f"Bearer {segment({**HEADER, 'alg': 'none'})}.{segment(claims())}.{REMOVED_SIGNATURE}"
    for header in (other_algorithm, removed() + "x", removed().removesuffix(REMOVED_SIGNATURE) + "cc"):
        with pytest.raises(Unauthenticated):
            behind_iam.verify(header, AUDIENCES)


def test_the_log_has_the_reason_and_never_the_token(
    verify: Verify, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("agent_mesh")
    logger.propagate, before = True, logger.propagate  # another test may have configured the log
    caplog.set_level(logging.INFO, logger="agent_mesh.oidc")
    tokens = [issuer.token(claims(aud="https://other.example.com")), "a.b.c", f"{segment(HEADER)}.{segment(b'[')}.cc"]
    try:
        for token in tokens:
            with pytest.raises(Unauthenticated):
                verify(f"Bearer {token}")
    finally:
        logger.propagate = before
    fields = [record.__dict__["fields"]["reason"] for record in caplog.records]
    assert len(fields) == 3
    assert "aud is 'https://other.example.com'" in fields[0]
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert not any(part in str(record.__dict__) for record in caplog.records for part in tokens[0].split("."))


@given(header=st.one_of(st.none(), st.text(), st.from_regex(r"Bearer [\w-]+\.[\w-]+\.[\w-]+", fullmatch=True)))
def test_no_header_raises_anything_but_the_refusal(verify: Verify, header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        verify(header)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(
    name=st.sampled_from(["iss", "aud", "sub", "email", "email_verified", "iat", "exp", "nbf"]),
    value=json_values.filter(lambda value: not isinstance(value, str)),
)
def test_no_signed_claim_raises_anything_but_the_refusal(
    verify: Verify, issuer: Issuer, name: str, value: object
) -> None:
    token = issuer.token(claims(**{name: value}))
    try:
        assert verify(f"Bearer {token}").email == CALLER
    except Unauthenticated:
        return
    assert value is True or isinstance(value, int | float)


@given(header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit"]), json_values), payload=st.binary())
def test_no_forged_segments_raise_anything_but_the_refusal(
    verify: Verify, header: Mapping[str, object], payload: bytes
) -> None:
    for forged in (header, {**header, **HEADER}):
        with pytest.raises(Unauthenticated):
            verify(f"Bearer {segment(forged)}.{segment(payload) or 'e30'}.c2ln")


class TestSignIn:
    """The token of a code that was exchanged: it must be for this client and for this attempt."""

    CLIENT = "client.apps.example.com"

    def test_a_token_with_the_nonce_says_who_signed_in(self, store: CertificateStore, issuer: Issuer) -> None:
        token = issuer.token(claims(aud=self.CLIENT, nonce="n-1"))
        identity = TokenVerifier(store, clock=StoppedClock()).verify_sign_in(token, self.CLIENT, "n-1")
        assert identity == Identity(email=CALLER, subject="1234567890")

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"nonce": "n-2"},
            {"nonce": ["n-1"]},
            {"nonce": None},
            {"nonce": "n-1\ud800"},
            {"nonce": "n-1", "aud": AUDIENCE},
            {"nonce": "n-1", "email_verified": False},
            {"nonce": "n-1", "exp": NOW - 100, "iat": NOW - 200},
            {"nonce": "n-1", "iss": "https://accounts.example.com"},
        ],
        ids=ascii,
    )
    def test_any_other_token_is_refused(
        self, store: CertificateStore, issuer: Issuer, changes: Mapping[str, object]
    ) -> None:
        token = issuer.token(claims(**{"aud": self.CLIENT, **changes}))
        with pytest.raises(Unauthenticated) as refused:
            TokenVerifier(store, clock=StoppedClock()).verify_sign_in(token, self.CLIENT, "n-1")
        assert refused.value.__context__ is None

    def test_without_a_nonce_or_a_client_nobody_signs_in(self, store: CertificateStore, issuer: Issuer) -> None:
        verifier = TokenVerifier(store, clock=StoppedClock())
        for client, nonce in ((self.CLIENT, ""), ("", "n-1")):
            with pytest.raises(Unauthenticated):
                verifier.verify_sign_in(issuer.token(claims(aud=client, nonce=nonce)), client, nonce)

    def test_a_removed_signature_is_never_accepted_here(self, store: CertificateStore, issuer: Issuer) -> None:
        head, body, _ = issuer.token(claims(aud=self.CLIENT, nonce="n-1")).split(".")
        verifier = TokenVerifier(store, accept_removed_signature=True, clock=StoppedClock())
        for token in (f"{head}.{body}.{REMOVED_SIGNATURE}", f"{head}.{body}.", "", "a b.c.d", "x" * 5000):
            with pytest.raises(Unauthenticated):
                verifier.verify_sign_in(token, self.CLIENT, "n-1")
