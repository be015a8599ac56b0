from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_mesh.contracts.policy import AccessIntent
from agent_mesh.policy import ACCESS, DISPATCH, Engine, Policy, access_answer, access_input
from tests.unit.policy.conftest import bundle_of

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "intents"
SHARED = Path(__file__).resolve().parents[3] / "shared"

INTENT: dict[str, Any] = {
    "subject": {"enterprise": "A", "id": "u123", "roles": ["fin_analyst"]},
    "resource": {"enterprise": "B", "id": "dataset:finance.q4", "scope": "read"},
    "context": {"device": "compliant", "geo": "US", "session_risk": 42},
}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def decides(rule: str) -> Any:
    bundle = bundle_of(f"allow := {rule}")
    with Engine(bundle, timeout_s=20.0) as engine:
        return Policy(bundle, engine).decide("trial", {})


def test_the_sample_intent_is_allowed_for_an_hour(mesh: Policy) -> None:
    decision = mesh.decide(ACCESS, INTENT)
    assert (decision.allow, decision.reasons, decision.obligations) == (True, (), {"timebox": 3600})
    assert (decision.risk_after, decision.policy_ref) == (37, "access.rego#allow")
    assert decision.policy_version == mesh.bundle.version


def test_of_the_examples_the_first_of_each_file_is_allowed(mesh: Policy) -> None:
    texts = [(EXAMPLES / "sample.json").read_text(), *(EXAMPLES / "mixed.jsonl").read_text().splitlines()]
    decided = [mesh.decide(ACCESS, access_input(AccessIntent.model_validate_json(text))).allow for text in texts]
    assert decided == [True, True, False, False, False]


def test_a_denial_says_which_rule_and_why(mesh: Policy) -> None:
    decision = mesh.decide(ACCESS, {**INTENT, "context": {"session_risk": 50}})
    assert not decision.allow
    assert decision.reasons == ("session_risk_too_high",)
    assert decision.explanation == "Denied by access.rego#allow: session_risk_too_high."


@pytest.mark.parametrize(
    "rule",
    [
        "true",
        "1",
        "[true]",
        "{}",
        '{"allow": true}',
        '{"allow": 1, "reasons": [], "obligations": {}, "policy_ref": "p.rego#allow"}',
        '{"allow": "true", "reasons": [], "obligations": {}, "policy_ref": "p.rego#allow"}',
        '{"allow": true, "reasons": ["no"], "obligations": {}, "policy_ref": "p.rego#allow"}',
        '{"allow": true, "reasons": [], "obligations": [], "policy_ref": "p.rego#allow"}',
        '{"allow": true, "reasons": [], "obligations": {}, "policy_ref": "p.rego"}',
        '{"allow": true, "reasons": [], "obligations": {}, "policy_ref": "p.rego#allow", "more": 1}',
        '{"allow": false, "reasons": [], "obligations": {"timebox": 1}, "policy_ref": "p.rego#allow"}',
        '{"allow": true, "reasons": [], "obligations": {"x": numbers.range(1, 9000)}, "policy_ref": "p.rego#allow"}',
    ],
)
def test_a_value_that_is_no_decision_is_a_denial(rule: str) -> None:
    decision = decides(rule)
    assert not decision.allow
    assert decision.reasons == ("policy_not_a_decision",)


def test_an_undefined_decision_is_a_denial() -> None:
    assert decides("input.nothing").reasons == ("policy_undefined",)


def test_a_kind_that_the_bundle_does_not_decide_is_a_denial(mesh: Policy) -> None:
    decision = mesh.decide("other", INTENT)
    assert (decision.allow, decision.reasons) == (False, ("policy_undefined",))


def test_an_input_without_a_hash_is_a_denial_without_a_digest(mesh: Policy) -> None:
    decision = mesh.decide(ACCESS, {"subject": float("nan")})
    assert (decision.allow, decision.digest, decision.reasons) == (False, None, ("policy_input_not_json",))


def test_the_digest_follows_version_kind_and_input_and_not_the_order_of_keys(mesh: Policy) -> None:
    digest = mesh.decide(ACCESS, INTENT).digest
    assert digest is not None
    assert mesh.decide(ACCESS, dict(reversed(INTENT.items()))).digest == digest
    assert mesh.decide(ACCESS, {**INTENT, "more": 1}).digest != digest
    assert mesh.decide(DISPATCH, INTENT).digest != digest
    changed = mesh.bundle.model_copy(update={"base_document": {"x": 1}})
    with Engine(changed, timeout_s=20.0) as engine:
        other = Policy(changed, engine)
        assert other.decide(ACCESS, INTENT).digest != digest
        assert not other.repeats(mesh.decide(ACCESS, INTENT), INTENT)


def test_a_decision_can_be_made_again(mesh: Policy) -> None:
    decision = mesh.decide(ACCESS, INTENT)
    assert mesh.repeats(decision, INTENT)
    assert not mesh.repeats(decision, {**INTENT, "context": {"session_risk": 41}})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON_VALUES)
def test_no_input_whatever_raises_or_is_allowed_by_accident(mesh: Policy, value: Any) -> None:
    decision = mesh.decide(ACCESS, value)
    assert not decision.allow
    assert decision.reasons
    assert mesh.repeats(decision, value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    enterprise=st.sampled_from(["A", "B", "a", None]),
    target=st.sampled_from(["A", "B", ["B"]]),
    scope=st.sampled_from(["read", "write", "READ"]),
    risk=st.integers(-200, 200) | st.floats(-200, 200).map(lambda risk: round(risk, 3)) | st.sampled_from(["4", None]),
)
def test_access_is_what_the_starting_rule_says(
    mesh: Policy, enterprise: Any, target: Any, scope: str, risk: Any
) -> None:
    intent: dict[str, Any] = {
        "subject": {"enterprise": enterprise},
        "resource": {"enterprise": target, "scope": scope},
        "context": {"session_risk": risk},
    }
    counted = risk if isinstance(risk, (int, float)) else 100
    allowed = enterprise == "A" and target == "B" and scope == "read" and counted < 50
    decision = mesh.decide(ACCESS, intent)
    assert decision.allow is allowed
    assert decision.obligations == ({"timebox": 3600} if allowed else {})
    assert decision.risk_after == pytest.approx(max(0, counted - 5) if allowed else counted)
    assert bool(decision.reasons) is not allowed


@pytest.mark.parametrize("risk", [10**400, -(10**400)])
def test_a_risk_beyond_all_numbers_is_the_highest(mesh: Policy, risk: int) -> None:
    intent = AccessIntent.model_validate({**INTENT, "context": {"session_risk": risk}, "subject": {}})
    answer = access_answer(intent, "t-3", mesh.decide(ACCESS, access_input(intent)), 1.0)
    assert (answer.decision, answer.risk_after) == ("deny", 100)


def test_only_a_want_of_time_is_no_verdict(mesh: Policy) -> None:
    denial = mesh.decide(ACCESS, {})
    assert not denial.out_of_time
    late = denial.model_copy(update={"reasons": ("policy_timed_out",), "policy_ref": "engine#refused"})
    assert late.out_of_time
    assert not late.model_copy(update={"policy_ref": "p.rego#allow"}).out_of_time, "a rule may call it so"


def test_the_answer_on_the_wire_has_the_contracts_fields(mesh: Policy) -> None:
    intent = AccessIntent.model_validate({"tx_id": "t-1", **INTENT})
    answer = access_answer(intent, "t-1", mesh.decide(ACCESS, access_input(intent)), 1_700_000_000.5)
    assert answer.model_dump(include={"tx_id", "decision", "obligations", "risk_after", "policy_ref", "ts"}) == {
        "tx_id": "t-1",
        "decision": "allow",
        "obligations": {"timebox": 3600},
        "risk_after": 37.0,
        "policy_ref": "access.rego#allow",
        "ts": 1_700_000_000.5,
    }


@pytest.mark.parametrize(("risk", "after"), [(7, 7), (None, 100), ("7", 100), (True, 100)])
def test_a_denial_that_no_rule_made_leaves_the_risk_as_it_was(mesh: Policy, risk: Any, after: float) -> None:
    intent = AccessIntent.model_validate({**INTENT, "context": {"session_risk": risk, "deep": [[[[1]]]] * 900}})
    answer = access_answer(intent, "t-2", mesh.decide(ACCESS, access_input(intent)), 1.0)
    assert (answer.decision, answer.risk_after, answer.reasons) == ("deny", after, ["policy_input_too_large"])


@pytest.mark.parametrize("body", [{}, {**INTENT, "txId": "x"}, {**INTENT, "subject": []}, {**INTENT, "tx_id": ""}])
def test_an_intent_of_another_shape_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AccessIntent.model_validate(body)


def test_the_engine_is_loaded_only_when_one_is_made() -> None:
    script = "import sys, agent_mesh.policy; print('regopy' in sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=SHARED, text=True)
    assert outcome.stdout.strip() == "False"
