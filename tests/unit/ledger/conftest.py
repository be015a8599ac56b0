"""The audit function over a real Firestore: called over its app with real tokens."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask
import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from agent_mesh.ledger import VerifierKey, parse_verifier_key
from agent_mesh.ledger.routes import audit_app
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.platform.app import FunctionApp
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings
from tests.conftest import HandClock, RecordingPublisher
from tests.unit.platform.identities import Identities

AUDIENCE = "https://audit.example.com"
CALLER = "caller@example.com"
OTHER = "other@example.com"
OPERATOR = "operator@example.com"
VIEWER = "viewer@example.com"
PUSHER = "pusher@example.com"
LOG_NAME = "ledger.example/mesh"


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    raw: bytes
    headers: Headers

    @property
    def json(self) -> dict[str, Any]:
        """The body, read as JSON."""
        body: dict[str, Any] = json.loads(self.raw)
        return body

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and code of a problem."""
        assert self.headers["Content-Type"] == "application/problem+json"
        return self.status, str(self.json["code"])


@dataclass
class AuditInHand:
    """The audit function, and everything around it."""

    app: FunctionApp
    parts: FunctionParts
    publisher: RecordingPublisher
    clock: HandClock
    identities: Identities

    def call(self, method: str, path: str, body: object = None, *, by: str | None = OPERATOR) -> Answer:
        """Call a route; a body of bytes is sent as it is."""
        sent = Headers(self.identities.header(by, AUDIENCE) if by else {})
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        builder = EnvironBuilder(path=path, method=method, data=raw, headers=sent)
        response = self.app.serve(flask.Request(builder.get_environ()))
        return Answer(response.status_code, response.get_data(), response.headers)

    def get(self, path: str, *, by: str | None = OPERATOR) -> Answer:
        """Read."""
        return self.call("GET", path, by=by)

    def append(self, by: str = CALLER, /, **changes: object) -> Answer:
        """Append an entry that is accepted as it is."""
        given = {"tx_id": "tx-1", "event": "decision", "actor": "agent:x", "payload": {"n": 1}} | changes
        return self.call("POST", "/audit", given, by=by)

    def push(self, event: object, *, by: str = PUSHER) -> Answer:
        """Push an event as Pub/Sub does; bytes are the message as they are."""
        raw = event if isinstance(event, bytes) else json.dumps(event).encode()
        message = {"data": base64.b64encode(raw).decode(), "messageId": "1", "attributes": {}}
        return self.call("POST", "/pubsub/events", {"message": message, "subscription": "s"}, by=by)

    @property
    def key(self) -> VerifierKey:
        """The key of the ledger, as it says itself."""
        return parse_verifier_key(self.get("/key").raw.decode().strip())

    @property
    def store(self) -> LedgerStore:
        """The documents, to look at."""
        return LedgerStore(self.parts.database)

    def checkpoints(self) -> list[dict[str, Any]]:
        """Return the data of the events that told of commits."""
        events = [json.loads(message.data) for message in self.publisher.on("events")]
        return [event["data"] for event in events if event["type"] == "mesh.ledger.checkpoint"]


def audit_in_hand(database: FirestoreClient, place: Path, clock: HandClock, **settings: str) -> AuditInHand:
    """Return an audit function of its own; several on one database and key are several instances."""
    environment = {
        "GCP_PROJECT": "p",
        "OIDC_AUDIENCE": AUDIENCE,
        "MESH_CALLERS": f"{CALLER},{OTHER}",
        "MESH_OPERATORS": OPERATOR,
        "MESH_VIEWERS": VIEWER,
        "MESH_EVENT_PUSHERS": PUSHER,
        "LEDGER_KEY_FILE": str(place / "ledger-key"),
        "LEDGER_ORIGIN": LOG_NAME,
        "LEDGER_COMMIT_SECONDS": "0",
    }
    publisher, identities = RecordingPublisher(), Identities.at(place, clock)
    known = Settings.from_environment(environment | settings)
    events = EventLog(publisher, "projects/p/topics/events", "audit", clock)
    parts = FunctionParts(known, database, publisher, identities.verifier, events, clock)
    return AuditInHand(audit_app(parts), parts, publisher, clock, identities)


@pytest.fixture
def audit(database: FirestoreClient, tmp_path: Path, clock: HandClock) -> AuditInHand:
    """An audit function with an empty ledger."""
    return audit_in_hand(database, tmp_path, clock)
