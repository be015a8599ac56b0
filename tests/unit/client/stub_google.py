"""Google as impersonation meets it: the token endpoint of a person's credentials and the IAM credentials API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.client.stub_mesh import Answer, StubMesh, unsigned_token

OPERATOR = "mesh-prod-operator@my-project.iam.gserviceaccount.com"
MINTING = f"POST /{OPERATOR}:generateIdToken"

Mint = Callable[[str, str], str]


def stand_in_for_google(
    server: StubMesh,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    account: str = OPERATOR,
    mint: Mint | None = None,
) -> None:
    """Let google-auth find a person's credentials in `folder`, and mint tokens of `account` at `server`."""
    minted = mint or unsigned_token
    server.rules["POST /token"] = Answer({"access_token": "a-persons", "expires_in": 3600})
    server.rules[f"POST /{account}:generateIdToken"] = lambda asked: Answer(
        {"token": minted(asked.body["audience"], account)}
    )
    own = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    (folder / "own.json").write_text(json.dumps(own))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "own.json"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{server.url}/token")
    monkeypatch.setattr("google.auth.iam._IAM_IDTOKEN_ENDPOINT", server.url + "/{}:generateIdToken")


def google_refusal(status: int, message: str, reason: str, **more: Any) -> Answer:
    """Return an error in the shape of Google's APIs (https://google.aip.dev/193)."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, **more}]
    names = {403: "PERMISSION_DENIED", 404: "NOT_FOUND", 400: "INVALID_ARGUMENT"}
    return Answer(
        {"error": {"code": status, "message": message, "status": names[status], "details": details}},
        status,
        {"Content-Type": "application/json"},
    )
