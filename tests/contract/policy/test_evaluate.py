from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.contract.mesh import assert_problem, at_once, envelope_of, eventually, unique
from tests.contract.policy.conftest import Policies
from tests.policies import INTENT


def changed(part: str, **fields: Any) -> dict[str, Any]:
    return {**INTENT, part: {**INTENT[part], **fields}}


def publish(policies: Policies, payload: dict[str, Any], topic: str = "access.intent") -> None:
    """Publish as the relay does."""
    policies.publish("relay", json.dumps(payload).encode(), {"topic": topic, "number": unique(), "previous": "0"})


def test_the_sample_intent_is_allowed_for_an_hour(policies: Policies) -> None:
    tx_id = str(uuid.uuid4())
    answer = policies.post("/evaluate", {"tx_id": tx_id, **INTENT})
    assert answer.status == 200
    assert answer.json["tx_id"] == tx_id
    assert (answer.json["decision"], answer.json["obligations"]) == ("allow", {"timebox": 3600})
    assert (answer.json["risk_after"], answer.json["policy_ref"]) == (37, "access.rego#allow")
    assert answer.json["digest"].startswith("sha256:")
    assert isinstance(answer.json["ts"], float)


def test_a_decision_is_told_before_it_is_answered(policies: Policies) -> None:
    tx_id = unique("tx")
    answer = policies.post("/evaluate", {"tx_id": tx_id, **changed("context", session_risk=77)}).json
    told = policies.about(tx_id)
    assert told["mesh.access.requested"]["context"]["session_risk"] == 77
    assert told["mesh.access.requested"]["actor"] == policies.mesh.developer
    decided = told["mesh.access.decided"]
    assert decided["reasons"] == ["session_risk_too_high"]
    assert {name: answer[name] for name in decided} == decided
    assert set(decided) >= {"decision", "obligations", "risk_after", "explanation", "policy_ref", "policy_version"}


def test_a_transaction_without_a_name_gets_one(policies: Policies) -> None:
    first, second = (policies.post("/evaluate", INTENT).json for _ in range(2))
    assert first["tx_id"] != second["tx_id"]
    assert first["digest"] == second["digest"]


def test_the_same_intent_twice_is_the_same_event(policies: Policies) -> None:
    tx_id = unique("tx")
    for _ in range(2):
        policies.post("/evaluate", {"tx_id": tx_id, **INTENT})
    events = policies.told(lambda event: event["subject"] == tx_id, 4)
    assert len({event["id"] for event in events}) == 2


def test_a_pushed_intent_is_decided_without_being_asked(policies: Policies) -> None:
    tx_id = unique("tx")
    publish(policies, {"tx_id": tx_id, **INTENT})
    told = policies.about(tx_id)
    assert told["mesh.access.decided"]["decision"] == "allow"
    assert told["mesh.access.requested"]["actor"] == "topic:access.intent"


def test_messages_of_other_topics_are_not_decided(policies: Policies) -> None:
    tx_id, other = unique("tx"), unique("tx")
    publish(policies, {"tx_id": other, **INTENT}, topic="other")
    publish(policies, {"tx_id": tx_id, **INTENT})
    policies.about(tx_id)
    assert not [event for event in policies.events if event["subject"] == other]


def test_a_redelivered_intent_without_a_name_is_one_transaction(policies: Policies) -> None:
    number, marked = unique(), {**INTENT, "context": {"mark": unique()}}
    envelope = envelope_of(marked, attributes={"topic": "access.intent", "number": number})
    for _ in range(2):
        assert policies.post("/pubsub/intents", envelope, email=pusher(policies)).status == 204
    mine = policies.told(lambda event: event["data"].get("context") == marked["context"], 2)
    assert len({(event["id"], event["subject"]) for event in mine}) == 1


def pusher(policies: Policies) -> str:
    return policies.mesh.pushers[policies.mesh.stack.url("policy") + "/pubsub/intents"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_request"),
        (b"\xff", 400, "malformed_request"),
        (b"[]", 422, "invalid_request"),
        (b"{}", 422, "invalid_request"),
        (json.dumps({**INTENT, "more": 1}).encode(), 422, "invalid_request"),
        (json.dumps({**INTENT, "tx_id": "a b"}).encode(), 422, "invalid_request"),
        (b'{"subject":' + b"[" * 5000, 400, "malformed_request"),
    ],
)
def test_what_is_no_intent_is_refused(policies: Policies, body: bytes, status: int, code: str) -> None:
    answer = policies.post("/pubsub/intents", envelope_of(body), email=pusher(policies))
    assert answer.refusal == (status, code)
    assert_problem(answer)
    if not body.startswith(b"\xff"):
        direct = policies.mesh.raw("POST", "/evaluate", body, role="policy")
        assert direct.refusal == (status, code)


def test_what_is_no_intent_is_denied_where_it_says_which_and_ends_in_the_dead_letters(policies: Policies) -> None:
    tx_id = unique("tx")
    publish(policies, {"tx_id": tx_id, "subject": []})
    decided = policies.about(tx_id, 1)["mesh.access.decided"]
    assert (decided["decision"], decided["reasons"]) == ("deny", ["policy_intent_invalid"])
    letters = eventually(lambda: [one for one in policies.mesh.dead_letters() if one["topic"] == "relay"])
    assert letters[0]["attempts"] >= 5
    assert len({event["id"] for event in policies.events if event["subject"] == tx_id}) == 1


@pytest.mark.parametrize(
    ("part", "fields", "reason"),
    [
        ("subject", {"v": 'x","enterprise":"A","zz":"', "enterprise": "C"}, "subject_enterprise_not_allowed"),
        ("subject", {"enterprise": "А"}, "subject_enterprise_not_allowed"),  # noqa: RUF001 - the Cyrillic one
        ("resource", {"scope": ["read"]}, "scope_not_allowed"),
        ("context", {"session_risk": "42"}, "session_risk_too_high"),
        ("context", {"session_risk": 10**300}, "session_risk_too_high"),
        ("context", {"big": "x" * 262_100}, "policy_input_too_large"),
        ("context", {"many": list(range(3000))}, "policy_input_too_large"),
        ("context", {"deep": json.loads("[" * 60 + "]" * 60)}, "policy_input_too_deep"),
        ("context", {"half": "\ud800"}, "policy_input_not_json"),
    ],
    ids=["injection", "lookalike", "list", "text", "huge", "large", "many", "deep", "surrogate"],
)
def test_hostile_intents_are_denied_with_a_code(
    policies: Policies, part: str, fields: dict[str, Any], reason: str
) -> None:
    answer = policies.post("/evaluate", changed(part, **fields))
    if answer.status != 200:  # stopped before policy was asked
        assert answer.status in {400, 413, 422}
        return
    assert (answer.json["decision"], answer.json["obligations"]) == ("deny", {})
    assert answer.json["reasons"] == [reason]


@pytest.mark.parametrize(
    "risk", [10**400, -(10**400), 1e308, 1e-308, 0.1], ids=["huge", "low", "large", "tiny", "some"]
)
def test_no_number_whatever_breaks_an_answer(policies: Policies, risk: float) -> None:
    answer = policies.post("/evaluate", changed("context", session_risk=risk))
    assert answer.status == 200, answer.body
    assert answer.json["decision"] == "deny" or risk < 50


def test_a_megabyte_is_refused(policies: Policies) -> None:
    answer = policies.post("/evaluate", changed("context", blob="x" * 1_000_000))
    assert answer.refusal == (422, "invalid_request")
    pushed = policies.post("/pubsub/intents", envelope_of(changed("context", b="x" * 10**6)), email=pusher(policies))
    assert pushed.refusal == (422, "invalid_request")


def test_the_events_of_a_large_intent_are_small(policies: Policies) -> None:
    tx_id = unique("tx")
    assert policies.post("/evaluate", {"tx_id": tx_id, **changed("context", blob="x" * 100_000)}).status == 200
    requested = policies.about(tx_id)["mesh.access.requested"]
    assert requested["context"] == {}
    assert requested["omitted"]["bytes"] > 100_000


def test_text_outside_ascii_is_taken_as_it_is(policies: Policies) -> None:
    tx_id = unique("tx")
    answer = policies.post("/evaluate", {"tx_id": tx_id, **changed("subject", id='Grüße 日本語 😀 \u2028 a"b\\c\n')})
    assert answer.json["decision"] == "allow"
    assert policies.about(tx_id)["mesh.access.requested"]["subject"]["id"] == 'Grüße 日本語 😀 \u2028 a"b\\c\n'


def test_many_at_once_get_each_their_own_answer(policies: Policies) -> None:
    answers = at_once(24, lambda n: policies.post("/evaluate", changed("context", session_risk=38 + n)).json)
    assert [one["risk_after"] for one in answers] == [38 + n - 5 if n < 12 else 38 + n for n in range(24)]


def test_an_explanation_names_the_first_expression_that_failed(policies: Policies) -> None:
    tx_id = unique("tx")
    body = {"tx_id": tx_id, **changed("context", session_risk=77)}
    explained = policies.post("/evaluate/explain", body).json
    assert explained["complete"] is True
    assert explained["answer"]["decision"] == "deny"
    (risk,) = [one for one in explained["rules"] if one["rule"] == "access.rego#at_low_risk"]
    assert (risk["held"], risk["failed"]) == (False, "session_risk < risk_limit")
    assert {"path": "session_risk", "present": True, "value": 77} in risk["looked_at"]
    policies.post("/evaluate", {"tx_id": (after := unique("tx")), **INTENT})
    policies.about(after)
    assert not [event for event in policies.events if event["subject"] == tx_id], "explaining records nothing"


def test_a_decision_repeats_with_its_own_version_and_input_only(policies: Policies) -> None:
    made = policies.post("/evaluate", INTENT).json
    asked = {"digest": made["digest"], "policy_version": made["policy_version"], "input": INTENT, "decision": "allow"}
    again = policies.post("/evaluate/repeat", asked).json
    assert (again["repeats"], again["digest_matches"], again["decision"]) == (True, True, "allow")
    assert policies.post("/evaluate/repeat", asked | {"decision": "deny"}).json["repeats"] is False
    other = policies.post("/evaluate/repeat", asked | {"input": changed("context", session_risk=41)}).json
    assert (other["repeats"], other["digest_matches"]) == (False, False)
    unknown = policies.post("/evaluate/repeat", asked | {"policy_version": "sha256:" + "0" * 64})
    assert unknown.refusal == (404, "not_found")
