"""Reading pushed tasks: a full run request, or just a payload; and who asked for the run."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue, TypeAdapter, ValidationError

from agent_mesh.agents.admission import Price
from agent_mesh.agents.runs import WantedRun
from agent_mesh.budgets import Reservation, day_budget_id
from agent_mesh.contracts.problems import FieldFault, InvalidRequest, MalformedRequest
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.runs import RunMessage, RunRequest
from agent_mesh.contracts.values import canonical_json
from agent_mesh.platform.ids import derived_id, fingerprint, random_id

_OBJECT = TypeAdapter(dict[str, JsonValue])


def read_task_message(envelope: PushEnvelope) -> RunMessage:
    """Return the run that a push asks for.

    An object with an object under `payload` is a full request, any other object is a payload by itself. What the data
    does not say of trace and key, the attributes may. Raises `MalformedRequest` or `InvalidRequest` naming the field.
    """
    body = envelope.message.body()
    try:
        content = _OBJECT.validate_json(body)
        if not isinstance(content.get("payload"), dict):
            content = {"payload": content}
            body = _OBJECT.dump_json(content)
        message = RunMessage.model_validate_json(body)
    except ValidationError as error:
        faults = [
            FieldFault(field=".".join(["message.data", *map(str, fault["loc"])]), message=fault["msg"])
            for fault in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        unreadable = any(fault["type"] == "json_invalid" for fault in error.errors(include_input=False))
        kind = MalformedRequest if unreadable else InvalidRequest
        detail = "; ".join(f"{fault.field}: {fault.message}" for fault in faults[:5])
        raise kind(detail, errors=faults[:50]) from error
    attributes = envelope.message.attributes
    return message.model_copy(
        update={
            "trace_id": message.trace_id or attributes.get("traceId"),
            "idempotency_key": message.idempotency_key or attributes.get("idempotencyKey"),
        }
    )


@dataclass(frozen=True)
class Asker:
    """Who asks for runs of one agent, and at what price: derives the run's id and what has to be reserved for it."""

    agent: str
    price: Price

    def orchestrated(self, request: RunRequest | RunMessage, task_id: str) -> WantedRun:
        """Return the run of a task. The orchestrator reserved its budget."""
        return WantedRun(task_id, self.agent, caller="", attempt=request.attempt, ttl=request.ttl)

    def called(self, request: RunRequest, caller: str, now: float) -> WantedRun:
        """Return the run of a direct call: deduplicated by the caller's task id or key, if it sent one."""
        run_id = random_id("run")
        if request.task_id:
            run_id = derived_id("run", self.agent, caller, "task", request.task_id)
        elif request.idempotency_key:
            run_id = derived_id("run", self.agent, caller, "key", request.idempotency_key)
        return self._direct(run_id, caller, request, now)

    def pushed(self, message: RunMessage, envelope: PushEnvelope, now: float) -> WantedRun:
        """Return the run of a message without a task: deduplicated by its key, else by Pub/Sub's message id."""
        subscription = f"push:{envelope.subscription}"
        if message.idempotency_key:
            run_id = derived_id("run", self.agent, subscription, "key", message.idempotency_key)
        elif envelope.message.message_id:
            run_id = derived_id("run", self.agent, subscription, "message", envelope.message.message_id)
        else:
            run_id = random_id("run")
        return self._direct(run_id, subscription, message, now)

    def _direct(self, run_id: str, caller: str, request: RunRequest | RunMessage, now: float) -> WantedRun:
        reservation = Reservation(day_budget_id(self.agent, now), self.price.maximum) if self.price.maximum else None
        return WantedRun(
            run_id,
            self.agent,
            caller,
            fingerprint=fingerprint(canonical_json(request.payload)),
            reservation=reservation,
            ttl=request.ttl,
        )
