"""The wrapped Pub/Sub push request (https://cloud.google.com/pubsub/docs/push#receive_push)."""

from __future__ import annotations

import base64
import binascii

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from agent_mesh.contracts.problems import FieldFault, MalformedRequest


class PushMessage(BaseModel):
    """One Pub/Sub message; Pub/Sub adds fields as it likes, so unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)

    data: str = Field(default="", description="Base64 of the published bytes.")
    attributes: dict[str, str] = {}
    message_id: str = ""
    publish_time: str = ""
    ordering_key: str = ""

    def body(self) -> bytes:
        """Return the published bytes; raise `MalformedRequest` when `data` is not base64."""
        try:
            return base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as error:
            fault = FieldFault(field="message.data", message="is not base64")
            detail = "message.data is not base64 (RFC 4648 section 4)."
            raise MalformedRequest(detail, errors=[fault]) from error


class PushEnvelope(BaseModel):
    """The body of a push request."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)

    message: PushMessage
    subscription: str = ""
    delivery_attempt: int | None = Field(default=None, description="Set by Pub/Sub where a dead-letter policy is set.")
