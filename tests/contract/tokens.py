"""ID tokens that must open nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from emulator.oidc.keys import SigningKey


def segment(content: bytes | Mapping[str, object]) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def valid_claims(issuer: str, audience: str, email: str) -> dict[str, object]:
    """What Google puts into an ID token of this account."""
    now = int(time.time())
    identity = {"sub": "1234567890", "azp": "1234567890", "email": email, "email_verified": True}
    return {"iss": issuer, "aud": audience, "iat": now, "exp": now + 3600, **identity}


def attacks(key: SigningKey, claims: dict[str, object]) -> dict[str, str]:
    """Return Authorization headers by what is wrong with them; `claims` would be fine."""
    return {name: f"Bearer {token}" for name, token in (_unsigned(key, claims) | _signed(key, claims)).items()} | {
        "empty": "",
        "no token": "Bearer",
        "a blank token": "Bearer ",
        "another scheme": "Basic dXNlcjpwYXNz",
        "the token alone": key.sign(claims),
        "two tokens": f"Bearer {key.sign(claims)}, Bearer {key.sign(claims)}",
        "not ASCII": "Bearer é.é.é".encode().decode("latin-1"),
    }


def _unsigned(key: SigningKey, claims: dict[str, object]) -> dict[str, str]:
    """Tokens that the issuer's key did not sign."""
    header = {"alg": "RS256", "kid": key.key_id, "typ": "JWT"}
    good = key.sign(claims)
    head, body, signature = good.split(".")
    confused = segment({**header, "alg": "HS256"}) + "." + body
    mac = hmac.new(key.certificate.encode(), confused.encode(), hashlib.sha256).digest()
    return {
        "two segments": "a.b",
        "three letters": "a.b.c",
        "dots": "..",
        "nested JSON payload": f"{head}.{segment(b'[' * 1000)}.{signature}",
        "nested JSON header": f"{segment(b'[' * 1000)}.{body}.{signature}",
        "alg none": f"{segment({'alg': 'none'})}.{body}.",
        "alg none with a signature": f"{segment({**header, 'alg': 'none'})}.{body}.{signature}",
        "HS256 with the certificate": f"{confused}.{segment(mac)}",
        "signature removed": f"{head}.{body}.SIGNATURE_REMOVED_BY_GOOGLE",
        "other claims under the signature": f"{head}.{segment({**claims, 'sub': '0'})}.{signature}",
        "unknown key": f"{segment({**header, 'kid': 'f' * 40})}.{body}.{signature}",
        "no key id": f"{segment({'alg': 'RS256'})}.{body}.{signature}",
        "key id is a list": f"{segment({**header, 'kid': []})}.{body}.{signature}",
        "critical extension": f"{segment({**header, 'crit': ['x']})}.{body}.{signature}",
    }


def _signed(key: SigningKey, claims: dict[str, object]) -> dict[str, str]:
    """Tokens that the issuer's key signed, and that say the wrong thing."""
    now = int(time.time())
    changes: dict[str, dict[str, object]] = {
        "expired": {"iat": now - 4000, "exp": now - 400},
        "not yet valid": {"iat": now + 600, "exp": now + 1200},
        "valid for a day": {"exp": now + 86_400},
        "exp is text": {"exp": str(now + 600)},
        "exp is NaN": {"exp": float("nan")},
        "exp is huge": {"exp": 10**400},
        "another issuer": {"iss": "https://accounts.example.com"},
        "another audience": {"aud": "https://other.example.com"},
        "a list of audiences": {"aud": [claims["aud"]]},
        "audience with a path": {"aud": f"{claims['aud']}/"},
        "no audience": {"aud": ""},
        "unverified": {"email_verified": False},
        "verified is text": {"email_verified": "true"},
        "email is a list": {"email": [claims["email"]]},
        "email is empty": {"email": ""},
        "five kilobytes": {"padding": "x" * 5000},
    }
    tokens = {name: key.sign(claims | change) for name, change in changes.items()}
    for name in claims:
        if name != "azp":
            tokens[f"without {name}"] = key.sign({other: value for other, value in claims.items() if other != name})
    return tokens | {"claims are a list": f"{tokens['unverified'].split('.')[0]}.{segment(b'[]')}.x"}
