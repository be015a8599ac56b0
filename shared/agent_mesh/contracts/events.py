"""Events of the mesh: CloudEvents 1.0 in JSON (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class CloudEvent(BaseModel):
    """One event. `data` is small; large values go by reference."""

    model_config = ConfigDict(frozen=True)

    specversion: str = "1.0"
    id: str = Field(description="The same event has the same id however often it is sent: readers dedupe on it.")
    source: str = Field(description="URI reference of the function that saw it happen, such as `/orchestrator`.")
    type: str = Field(description="`mesh.task.succeeded` and the like; the table stands in docs/events.md.")
    subject: str = Field(description="The id of the thing it is about.")
    time: str = Field(description="RFC 3339, UTC.")
    datacontenttype: str = "application/json"
    traceparent: str = ""
    data: dict[str, JsonValue] = {}
