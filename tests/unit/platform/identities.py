"""An issuer of ID tokens in memory, and the verifier that trusts it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from agent_mesh.platform.certificates import CertificateDocument, CertificateStore
from agent_mesh.platform.clock import Clock
from agent_mesh.platform.oidc import TokenVerifier
from emulator.oidc.keys import SigningKey


@dataclass(frozen=True)
class Identities:
    """Gives everybody the token that Google would give."""

    key: SigningKey
    clock: Clock

    @classmethod
    def at(cls, place: Path, clock: Clock) -> Self:
        """Keep the key in `place`."""
        return cls(SigningKey.load_or_create(place / "issuer.pem"), clock)

    @property
    def verifier(self) -> TokenVerifier:
        """Trusts these tokens alone."""
        document = CertificateDocument(json.dumps({self.key.key_id: self.key.certificate}).encode())
        store = CertificateStore("https://issuer.test/certs", fetch=lambda _url: document, clock=self.clock)
        return TokenVerifier(store, clock=self.clock)

    def header(self, email: str, audience: str) -> dict[str, str]:
        """Return the header by which `email` calls `audience`."""
        now = int(self.clock.now())
        claims: dict[str, object] = {
            "iss": "https://accounts.google.com",
            "aud": audience,
            "sub": "1",
            "email": email,
            "email_verified": True,
            "iat": now,
            "exp": now + 3600,
        }
        return {"Authorization": f"Bearer {self.key.sign(claims)}"}
