"""What a message on a dead-letter topic says of itself: whose it is, where it comes from and why it died."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from agent_mesh.contracts.problems import MalformedRequest
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.runs import RunMessage, RunResult
from agent_mesh.deadletters.store import DeadRecord
from agent_mesh.platform.clock import moment
from agent_mesh.platform.ids import derived_id

_COUNT: Final = "CloudPubSubDeadLetterSourceDeliveryCount"
_SOURCE: Final = "CloudPubSubDeadLetterSourceSubscription"
_RESERVED: Final = "CloudPubSubDeadLetter"
_SUFFIX: Final = "-dead"
_COUNT_DIGITS: Final = 6
_NAME_LIMIT: Final = 100
"""Characters of a reason, a topic's or an agent's name. Whoever pushes here may send anything."""


def read_dead_letter(envelope: PushEnvelope, now: float, name_prefix: str = "") -> DeadRecord:
    """Return the dead letter that a push carries; it never fails, for a dead letter has nowhere else to go."""
    attributes = envelope.message.attributes
    subscription = envelope.subscription.rsplit("/", 1)[-1].removeprefix(name_prefix)
    topic = subscription.removesuffix(_SUFFIX)[:_NAME_LIMIT] or "tasks"
    body = _body(envelope)
    count = attributes.get(_COUNT, "")
    attempts = int(count) if count.isascii() and count.isdigit() and len(count) <= _COUNT_DIGITS else 1
    reason = attributes.get("deadLetterReason", "deliveries_used_up")[:_NAME_LIMIT]
    source = attributes.get(_SOURCE, "")
    detail = (
        f"Subscription {source} gave up after {attempts} deliveries."
        if source
        else f"The agent called it final: {reason}."
    )
    return DeadRecord(
        dead_id=derived_id("dead", subscription, envelope.message.message_id),
        topic=topic,
        reason=reason,
        detail=detail,
        attempts=attempts,
        at=moment(now),
        task_id=_task_id(topic, body),
        agent=attributes.get("agent", "")[:_NAME_LIMIT] or None,
        data=body,
        size_bytes=len(body),
        attributes={name: value for name, value in attributes.items() if not name.startswith(_RESERVED)},
    )


def _body(envelope: PushEnvelope) -> bytes:
    try:
        return envelope.message.body()
    except MalformedRequest:
        return envelope.message.data.encode()


def _task_id(topic: str, body: bytes) -> str | None:
    try:
        if topic == "results":
            return RunResult.model_validate_json(body).task_id
        return RunMessage.model_validate_json(body).task_id
    except ValidationError:
        return None
