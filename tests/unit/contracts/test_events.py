"""The event that every role emits."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from agent_mesh.contracts.events import CloudEvent


def test_an_event_has_what_cloudevents_requires() -> None:
    event = CloudEvent(id="ev_1", source="/orchestrator", type="mesh.task.succeeded", subject="t", time="2026-01-01")
    sent = json.loads(event.model_dump_json())
    assert {name: sent[name] for name in ("specversion", "id", "source", "type", "datacontenttype", "data")} == {
        "specversion": "1.0",
        "id": "ev_1",
        "source": "/orchestrator",
        "type": "mesh.task.succeeded",
        "datacontenttype": "application/json",
        "data": {},
    }


def test_an_event_without_an_id_is_none() -> None:
    with pytest.raises(ValidationError, match="id"):
        CloudEvent.model_validate({"source": "/a", "type": "t", "subject": "s", "time": "now"})
