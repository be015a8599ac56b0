"""The floor under the orchestrator: its Google calls and HTTP hop in its order, constant documents, no logic.

No token is verified, no input is looked at, nothing is decided. `dispatch.py` asserts that the documents have the
orchestrator's fields.
"""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from typing import Any

import flask
import functions_framework
import grpc
import urllib3
from google.auth.transport.requests import Request as AuthRequest
from google.cloud import firestore
from google.oauth2 import id_token
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage

_TOPICS = f"projects/{os.environ['GCP_PROJECT']}/topics/"
_AGENT: str = json.loads(os.environ["MESH_AGENTS"])["floor"]["url"]
_NOW = datetime(2026, 11, 20, 9, 0, 0, 123000, tzinfo=UTC)
_TASK: dict[str, object] = {
    "agent": "floor",
    "caller": "developer@mesh-local.iam.gserviceaccount.com",
    "mode": "pubsub",
    "status": "accepted",
    "payload": '{"n":1,"text":"The quick brown fox jumps over the lazy dog."}',
    "fingerprint": "0" * 64,
    "ttl": 1_795_000_000.5,
    "notBefore": None,
    "budgetCents": 10,
    "budgetId": "floor.20261120",
    "reservedCents": 1,
    "costCents": 0,
    "traceId": "0" * 32,
    "attempt": 1,
    "idempotencyKey": None,
    "callbackUrl": None,
    "callback": None,
    "cancelRequested": False,
    "replayOf": None,
    "policy": {
        "ref": "dispatch.rego#allow",
        "version": "sha256:" + "0" * 64,
        "digest": "sha256:" + "0" * 64,
        "groups": ["callers", "operators"],
    },
    "createdAt": _NOW,
    "updatedAt": _NOW,
    "finishedAt": None,
    "dueAt": _NOW,
    "expireAt": _NOW,
    "result": None,
    "error": None,
}
_SETTLED: dict[str, object] = {
    "status": "succeeded",
    "costCents": 1,
    "updatedAt": _NOW,
    "finishedAt": _NOW,
    "dueAt": None,
    "result": '{"n":1,"text":"The quick brown fox jumps over the lazy dog."}',
}
_MESSAGE = b'{"payload":{"n":1,"text":"The quick brown fox jumps over the lazy dog."},"taskId":"%s","attempt":1}'
_EVENT = b'{"specversion":"1.0","type":"%s","subject":"%s","data":{"agent":"floor","costCents":1}}' + b" " * 300
_TRACE = "00-" + "0" * 32 + "-" + "0" * 16 + "-01"

_database = firestore.Client(project=os.environ["GCP_PROJECT"])
_publisher = PublisherClient(
    transport=PublisherGrpcTransport(channel=grpc.insecure_channel(os.environ["PUBSUB_EMULATOR_HOST"]))
)
_pool = urllib3.PoolManager(maxsize=64, retries=urllib3.Retry(3, allowed_methods=None))
_tokens: dict[str, str] = {}


@functions_framework.http
def floor_orchestrator(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Take dispatches and results."""
    if request.path == "/pubsub/results":
        _settle(**request.get_json()["message"]["attributes"])
        return "", 204
    if request.path != "/dispatch":
        return "ok"
    wanted = request.get_json()
    task_id = "task_" + uuid.uuid4().hex
    created = _accept(task_id)
    if wanted["mode"] == "pubsub":
        _publish(task_id)
        _tell(task_id, "mesh.task.accepted")
        return {"taskId": task_id, **_answer()}, 202
    _run(task_id)
    _apply(task_id, created.update_time)
    _tell(task_id, "mesh.task.accepted", "mesh.task.succeeded")
    return {"taskId": task_id, **_answer()}, 200


def _accept(task_id: str) -> Any:  # noqa: ANN401  # the client's WriteResult is untyped
    batch = _database.batch()
    budget = _database.collection("floor-budgets").document("floor.20261120")
    batch.update(budget, {"usedCents": firestore.Increment(1), "limitCents": firestore.Increment(0)})
    batch.create(_task(task_id), _TASK | {"acceptedAt": firestore.SERVER_TIMESTAMP})
    return batch.commit()[1]


def _run(task_id: str) -> None:
    if "token" not in _tokens:
        _tokens["token"] = id_token.fetch_id_token(AuthRequest(), _AGENT)  # type: ignore[no-untyped-call]
    headers = {"Authorization": f"Bearer {_tokens['token']}", "Content-Type": "application/json"}
    response = _pool.request("POST", f"{_AGENT}/run", body=_MESSAGE % task_id.encode(), headers=headers)
    assert response.status == 200, response.status  # noqa: PLR2004


def _settle(*, taskId: str, mode: str, **_attributes: str) -> None:  # noqa: N803  # attributes are named so
    """Read and settle; over HTTP the task is settled already, and reading it is all that its result message brings."""
    snapshot = _task(taskId).get()
    if mode == "pubsub":
        _apply(snapshot.id, snapshot.update_time)
        _tell(snapshot.id, "mesh.task.succeeded")


def _apply(task_id: str, update_time: object) -> None:
    batch = _database.batch()
    batch.update(_task(task_id), _SETTLED, option=_database.write_option(last_update_time=update_time))
    batch.commit()


def _tell(task_id: str, *kinds: str) -> None:
    messages = [
        PubsubMessage(
            data=_EVENT % (kind.encode(), task_id.encode()),
            attributes={"type": kind, "subject": task_id, "traceparent": _TRACE},
        )
        for kind in kinds
    ]
    _publisher.publish(PublishRequest(topic=_TOPICS + "floor-events", messages=messages))


def _publish(task_id: str) -> None:
    attributes = {"agent": "floor", "traceId": "0" * 32, "traceparent": _TRACE, "taskId": task_id}
    message = PubsubMessage(data=_MESSAGE % task_id.encode(), attributes=attributes)
    _publisher.publish(PublishRequest(topic=_TOPICS + "floor-tasks", messages=[message]))


def _task(task_id: str) -> firestore.DocumentReference:
    return _database.collection("floor-tasks").document(task_id)


def _answer() -> dict[str, object]:
    return {name: value for name, value in _TASK.items() if isinstance(value, str | int | float)}
