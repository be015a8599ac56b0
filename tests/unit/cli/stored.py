"""What a login was given, what it stored and what it found."""

from __future__ import annotations

import base64
import json
from typing import Any

from agent_mesh.client import environments_file
from tests.unit.cli.conftest import Outcome
from tests.unit.client.stub_google import OPERATOR
from tests.unit.client.stub_mesh import Asked

CHECKS = ["address", "clock", "credentials", "identity", "orchestrator", "version", "token"]


def bearer(asked: Asked) -> dict[str, Any]:
    part = asked.headers["authorization"].removeprefix("Bearer ").split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return {name: claims[name] for name in ("aud", "email")}


def terraform_output(url: str, **changes: Any) -> str:
    output = {"project": "my-project", "environment": "prod", "url": url, "actAs": OPERATOR}
    return json.dumps({**output, **changes})


def stored() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(environments_file().read_text())["environments"]
    return read


def failures(outcome: Outcome) -> dict[str, str]:
    return {check["name"]: check["next"] for check in json.loads(outcome.out)["checks"] if not check["ok"]}
