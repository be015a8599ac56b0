"""The floor under an agent: claim, outcome, result and event as bare calls, with constant documents and no logic."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import flask
import functions_framework
import grpc
from google.cloud import firestore
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage

_TOPICS = f"projects/{os.environ['GCP_PROJECT']}/topics/"
_NOW = datetime(2026, 11, 20, 9, 0, 0, 123000, tzinfo=UTC)
_CLAIM: dict[str, object] = {
    "agent": "floor",
    "caller": "",
    "attempt": 1,
    "fingerprint": "",
    "startedAt": _NOW,
    "leaseUntil": _NOW,
    "expireAt": _NOW,
    "state": "running",
}
_OUTCOME: dict[str, object] = {
    "state": "finished",
    "status": "succeeded",
    "result": '{"n":1,"text":"The quick brown fox jumps over the lazy dog."}',
    "error": None,
    "costCents": 1,
    "finishedAt": _NOW,
    "leaseUntil": None,
    "dueAt": None,
    "reservedCents": 0,
}
_RESULT = b'{"result":{"n":1,"text":"The quick brown fox jumps over the lazy dog."},"costCents":1,"status":"succeeded"}'
_EVENT = b'{"specversion":"1.0","type":"mesh.run.succeeded","subject":"%s","data":{"agent":"floor"}}' + b" " * 300
_TRACE = "00-" + "0" * 32 + "-" + "0" * 16 + "-01"

_database = firestore.Client(project=os.environ["GCP_PROJECT"])
_publisher = PublisherClient(
    transport=PublisherGrpcTransport(channel=grpc.insecure_channel(os.environ["PUBSUB_EMULATOR_HOST"]))
)


@functions_framework.http
def floor_agent(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Take pushed tasks and calls."""
    if request.path == "/pubsub/push":
        _run(request.get_json()["message"]["attributes"]["taskId"], "pubsub")
        return "", 204
    if request.path == "/run":
        _run(request.get_json()["taskId"], "http")
        return flask.Response(_RESULT, content_type="application/json")
    return "ok"


def _run(task_id: str, mode: str) -> None:
    run = _database.collection("floor-runs").document(task_id)
    batch = _database.batch()
    batch.create(run, _CLAIM)
    claimed = batch.commit()[0]
    batch = _database.batch()
    batch.update(run, _OUTCOME, option=_database.write_option(last_update_time=claimed.update_time))
    batch.commit()
    attributes = {"agent": "floor", "taskId": task_id, "traceId": "0" * 32, "traceparent": _TRACE, "mode": mode}
    _publish("floor-results", _RESULT, attributes)
    told = {"type": "mesh.run.succeeded", "subject": task_id, "traceparent": _TRACE}
    _publish("floor-events", _EVENT % task_id.encode(), told)


def _publish(topic: str, data: bytes, attributes: dict[str, str]) -> None:
    message = PubsubMessage(data=data, attributes=attributes)
    _publisher.publish(PublishRequest(topic=_TOPICS + topic, messages=[message]))
