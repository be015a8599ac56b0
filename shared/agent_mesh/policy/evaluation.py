"""Access intents: decided, and told. A decision counts from when its events are published, not before.

Both events have ids that derive from the transaction and what was asked and decided, so that an intent that is
delivered twice is one event, one message of the relay and one entry of the ledger.
"""

from __future__ import annotations

from typing import Final, Protocol

from pydantic import JsonValue, TypeAdapter, ValidationError

from agent_mesh.contracts.policy import AccessIntent, PolicyAnswer, TxId
from agent_mesh.contracts.problems import FieldFault, InvalidRequest, MalformedRequest
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.values import canonical_json
from agent_mesh.platform.clock import Clock
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.ids import derived_id, fingerprint, random_id
from agent_mesh.platform.logs import join_trace, log
from agent_mesh.policy.decisions import ACCESS, ENGINE_REF, Decision, access_answer, access_input

REQUESTED: Final = "mesh.access.requested"
DECIDED: Final = "mesh.access.decided"
TOPIC: Final = "access.intent"
"""The relay's topic on which intents arrive."""

INVALID_INTENT: Final = "policy_intent_invalid"
"""The reason of a denial of what is no intent."""

_EVENT_INPUT_BYTES: Final = 64 * 1024
_TX_ID: Final = TypeAdapter(TxId)
_OBJECT: Final = TypeAdapter(dict[str, JsonValue])


class Decides(Protocol):
    """Whatever decides: the policy in force."""

    def decide(self, kind: str, value: JsonValue) -> Decision:
        """Return the decision of this kind about an input."""
        ...


class AccessDecisions:
    """Decides intents and tells of it."""

    def __init__(self, policy: Decides, events: EventLog, clock: Clock) -> None:
        """Everything that it decides and tells with is passed in."""
        self._policy = policy
        self._events = events
        self._clock = clock

    def evaluate(self, intent: AccessIntent, actor: str) -> PolicyAnswer:
        """Decide; return once the events are published.

        Raises `Unavailable` if they cannot be, or if it is not known which policy is in force.
        """
        answer = self.decide(intent)
        self._tell_requested(intent, answer.tx_id, actor)
        decided = answer.model_dump(exclude={"tx_id", "ts"})
        # Not the digest alone: what ran out of time may be decided otherwise when it is asked again.
        self._events.emit(DECIDED, answer.tx_id, decided, once=fingerprint(canonical_json(decided)))
        self._events.publish_or_fail()
        return answer

    def decide(self, intent: AccessIntent) -> PolicyAnswer:
        """Decide without telling anybody."""
        decision = self._policy.decide(ACCESS, access_input(intent))
        return access_answer(intent, intent.tx_id or random_id("tx"), decision, self._clock.now())

    def evaluate_pushed(self, envelope: PushEnvelope) -> None:
        """Decide an intent that the relay published. What is no intent is denied, where it can be told which, and
        refused, so that it ends in the dead letters.

        Raises `InvalidRequest`, and `Unavailable` like `evaluate`.
        """
        message = envelope.message
        join_trace(message.attributes.get)
        if message.attributes.get("topic", TOPIC) != TOPIC:
            log("a message of another topic was pushed as an intent", topic=message.attributes["topic"])
            return
        body = message.body()
        try:
            intent = AccessIntent.model_validate_json(body)
        except ValidationError as error:
            self._deny_what_is_no_intent(body)
            raise _refusal(error) from error
        self.evaluate(intent.model_copy(update={"tx_id": intent.tx_id or _tx_of(envelope)}), f"topic:{TOPIC}")

    def _tell_requested(self, intent: AccessIntent, tx_id: str, actor: str) -> None:
        asked = canonical_json(access_input(intent))
        data: dict[str, JsonValue] = {
            "subject": intent.subject,
            "resource": intent.resource,
            "context": intent.context,
            "actor": actor,
            "omitted": None,
        }
        if len(asked.encode()) > _EVENT_INPUT_BYTES:
            # The entry of the ledger and the message of the relay are small; the hash still says what it was.
            omitted: dict[str, JsonValue] = {"bytes": len(asked.encode()), "sha256": fingerprint(asked)}
            data |= {"subject": {}, "resource": {}, "context": {}, "omitted": omitted}
        self._events.emit(REQUESTED, tx_id, data, once=fingerprint(asked))

    def _deny_what_is_no_intent(self, body: bytes) -> None:
        """Tell of the denial if the body says which transaction it is."""
        try:
            tx_id = _TX_ID.validate_python(_OBJECT.validate_json(body).get("tx_id"))
        except ValidationError:
            return
        data: dict[str, JsonValue] = {
            "decision": "deny",
            "reasons": [INVALID_INTENT],
            "obligations": {},
            "risk_after": 100,
            "explanation": "Denied, because what was published is no intent.",
            "policy_ref": ENGINE_REF,
            "policy_version": "",
            "digest": None,
        }
        self._events.emit(DECIDED, tx_id, data, once=fingerprint(body.hex()))
        self._events.publish_or_fail()


def _tx_of(envelope: PushEnvelope) -> str:
    """Return the transaction of an intent that names none: the same however often the message is delivered."""
    attributes = envelope.message.attributes
    number = attributes.get("number") or envelope.message.message_id
    return derived_id("tx", TOPIC, number) if number else random_id("tx")


def _refusal(error: ValidationError) -> InvalidRequest:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    faults = [FieldFault(field=".".join(["message.data", *map(str, one["loc"])]), message=one["msg"]) for one in found]
    detail = "message.data is no access intent: " + "; ".join(f"{one.field}: {one.message}" for one in faults[:5])
    kind = MalformedRequest if any(one["type"] == "json_invalid" for one in found) else InvalidRequest
    return kind(detail, errors=faults[:50])
