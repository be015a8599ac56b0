"""Azure Confidential Ledger on a loopback port: its certificates, its REST API of 2022-05-13, and receipts that verify.

Who asks has to show a bearer token. `instead` is what it answers in place of the next answers, by path.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from tests.unit.ledger.stub_server import Answer, Asked, StubServer

TOKEN = "an-access-token"
STARTED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    def named(words: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])

    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder(named(issuer), named(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(STARTED)
        .not_valid_after(STARTED + dt.timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(theirs, critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256())


def pem(each: x509.Certificate) -> str:
    return each.public_bytes(Encoding.PEM).decode()


@dataclass
class AnAzureLedger:
    """The ledger and the identity service in one server; it takes `pending` looks until a transaction is there."""

    folder: Path
    pending: int = 1
    claims: bool = True
    entries: list[dict[str, str]] = field(default_factory=list)
    instead: dict[str, list[Answer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        service_key, self.node_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.service = certificate("service", service_key, "service", service_key, authority=True)
        self.node = certificate("localhost", self.node_key, "service", service_key, authority=False)
        self.service_file = self.folder / "service.pem"
        self.service_file.write_text(pem(self.service))
        chain = self.folder / "node.pem"
        private = self.node_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain.write_bytes(private + pem(self.node).encode())
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(chain)
        self.server = StubServer(self._answer, tls)
        self._looks: dict[str, int] = {}

    def _answer(self, asked: Asked) -> Answer:
        path, _, query = asked.path.partition("?")
        assert "api-version=2022-05-13" in query
        if self.instead.get(path):
            return self.instead[path].pop(0)
        if path == "/ledgerIdentity/localhost":
            return _json({"ledgerId": "localhost", "ledgerTlsCertificate": pem(self.service)})
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _json({"error": {"code": "AuthenticationFailure", "message": "no"}}, 401)
        if (asked.method, path) == ("POST", "/app/transactions"):
            collection = query.partition("collectionId=")[2].partition("&")[0]
            return self._posted(json.loads(asked.body)["contents"], collection)
        number, what = path.removeprefix("/app/transactions/2.").split("/")
        ready = self._looked(path)
        if what == "status":
            return _json({"state": "Committed" if ready else "Pending", "transactionId": f"2.{number}"})
        assert what == "receipt"
        return _json(self.receipt(int(number)) if ready else {"state": "Loading", "transactionId": f"2.{number}"})

    def _looked(self, path: str) -> bool:
        self._looks[path] = self._looks.get(path, 0) + 1
        return self._looks[path] > self.pending

    def _posted(self, contents: str, collection: str) -> Answer:
        self.entries.append({"contents": contents, "collectionId": collection})
        headers = {"x-ms-ccf-transaction-id": f"2.{len(self.entries)}"}
        return _json({"collectionId": collection}, headers=headers)

    def receipt(self, number: int) -> dict[str, Any]:
        """Return a receipt whose signature is over a tree of two leaves."""
        secret = bytes(32)
        entry = {
            **self.entries[number - 1],
            "protocol": "LedgerEntryV1",
            "secretKey": base64.b64encode(secret).decode(),
        }
        hmacs = [
            hmac.new(secret, entry[name].encode(), hashlib.sha256).digest() for name in ("collectionId", "contents")
        ]
        claim = _sha(b"LedgerEntryV1", _sha(*hmacs))
        claims_digest = _sha((1).to_bytes(4, "little"), claim)
        write_set, evidence, sibling = _sha(b"writes"), f"ce:2.{number}:0", _sha(b"sibling")
        root = _sha(_sha(write_set, _sha(evidence.encode()), claims_digest), sibling)
        signature = self.node_key.sign(root, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        public = self.node.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        leaf = {"claimsDigest": claims_digest.hex(), "commitEvidence": evidence, "writeSetDigest": write_set.hex()}
        receipt = {
            "cert": pem(self.node),
            "leafComponents": leaf,
            "nodeId": _sha(public).hex(),
            "proof": [{"right": sibling.hex()}],
            "serviceEndorsements": [],
            "signature": base64.b64encode(signature).decode(),
        }
        answer: dict[str, Any] = {"receipt": receipt, "state": "Ready", "transactionId": f"2.{number}"}
        return (
            {**answer, "applicationClaims": [{"kind": "LedgerEntry", "ledgerEntry": entry}]} if self.claims else answer
        )


def _sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})
