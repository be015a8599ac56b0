"""The mesh's events on their way into the relay: pushed by Pub/Sub, published on the topic that is named as their type.

An event that comes again is published once: its id is the key. What is no event is refused and ends with the dead
letters. Policy is not asked: this is the mesh itself, and a denial would be an event again.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from agent_mesh.contracts.events import CloudEvent
from agent_mesh.contracts.problems import FieldFault, InvalidRequest, MalformedRequest
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.values import PAYLOAD_LIMIT_BYTES
from agent_mesh.platform.logs import join_trace
from agent_mesh.relay.instance import RelayInstance
from agent_mesh.relay.messages import Draft
from agent_mesh.relay.topics import checked_topic

_OURS: Final = "mesh."


def publish_event(instance: RelayInstance, envelope: PushEnvelope) -> None:
    """Publish the event in a push; raise `InvalidRequest` for what can never be published."""
    join_trace(envelope.message.attributes.get)
    event = _event(envelope.message.body())
    topic = checked_topic(event.type)
    if not topic.startswith(_OURS):
        raise _refused("type", f"must begin with {_OURS!r}: other topics are published with POST /publish")
    payload = event.model_dump_json()
    if len(payload.encode()) > PAYLOAD_LIMIT_BYTES:
        raise _refused("data", f"makes the event larger than {PAYLOAD_LIMIT_BYTES} bytes")
    instance.publish(topic, Draft(payload, key=f"event:{event.id}"))


def _event(body: bytes) -> CloudEvent:
    try:
        return CloudEvent.model_validate_json(body)
    except ValidationError as error:
        faults = [
            FieldFault(field=".".join(map(str, fault["loc"])) or "message.data", message=fault["msg"])
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise MalformedRequest("message.data is no CloudEvent in JSON.", errors=faults) from error


def _refused(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {message}.", errors=[FieldFault(field=field, message=message)])
