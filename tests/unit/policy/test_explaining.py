"""An explanation says what the engine decides, or that it is not complete; it is never a second opinion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_mesh.contracts.policy import TriedRule
from agent_mesh.policy import ACCESS, DISPATCH, Bundle, BundleRefused, Engine, Manifest, Policy, packaged_bundle
from agent_mesh.policy.explaining import Explained, Explainer
from tests.policies import INTENT, risk_limit
from tests.unit.policy.test_decisions import JSON_VALUES

HEAD = """package p

decision := {"allow": allow, "reasons": reasons, "obligations": {}, "policy_ref": "p.rego#allow"}

default allow := false

default reasons := []

"""


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer()


@pytest.fixture(scope="module")
def mesh_policy() -> Iterator[Policy]:
    bundle = packaged_bundle("mesh")
    policy = Policy(bundle, Engine(bundle, timeout_s=20.0))
    yield policy
    policy.close()


def explained(rules: str, value: Any, **more: str) -> tuple[Explained, bool]:
    """Explain the decision of a bundle of package `p`; return whether it allowed, too."""
    manifest = Manifest(release="1.0.0", decisions={"trial": "p/decision"})
    modules = {"p.rego": HEAD + rules} | {f"{name}.rego": text for name, text in more.items()}
    bundle = Bundle(name="trial", manifest=manifest, modules=modules)
    policy = Policy(bundle, Engine(bundle, timeout_s=20.0))
    decision = policy.decide("trial", value)
    policy.close()
    return Explainer(try_first=bool).explain(bundle, decision, value), decision.allow


def tried(found: Explained, rule: str, kind: str = "rule") -> list[TriedRule]:
    return [one for one in found.rules if one.rule == f"p.rego#{rule}" and one.kind == kind]


def test_every_rule_of_a_denied_intent_is_there_with_what_it_looked_at(
    mesh_policy: Policy, explainer: Explainer
) -> None:
    value = {**INTENT, "context": {"session_risk": 77}}
    found = explainer.explain(mesh_policy.bundle, mesh_policy.decide(ACCESS, value), value)
    assert found.complete
    by_name = {(one.rule, one.kind): one for one in found.rules}
    allow = by_name["access.rego#allow", "rule"]
    assert (allow.held, allow.failed) == (False, "at_low_risk")
    low = by_name["access.rego#at_low_risk", "rule"]
    assert (low.held, low.failed, low.line) == (False, "session_risk < risk_limit", 32)
    assert [(one.path, one.value) for one in low.looked_at] == [("session_risk", 77), ("risk_limit", 50)]
    assert by_name["access.rego#from_enterprise_a", "rule"].looked_at[0].value == "A"
    assert by_name["access.rego#allow", "default"].held is True
    assert by_name["access.rego#decision", "else"].held is True
    assert not [one for one in found.rules if one.rule.startswith("dispatch")]


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON_VALUES, kind=st.sampled_from([ACCESS, DISPATCH]))
def test_an_explanation_of_anything_adds_up_to_its_decision(
    mesh_policy: Policy, explainer: Explainer, value: Any, kind: str
) -> None:
    decision = mesh_policy.decide(kind, value)
    found = explainer.explain(mesh_policy.bundle, decision, value)
    assert found.complete
    (allow,) = [one for one in found.rules if one.rule.endswith("#allow") and one.kind == "rule"]
    assert allow.held is decision.allow
    assert (allow.failed is None) is decision.allow


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    enterprise=st.sampled_from(["A", "B"]),
    target=st.sampled_from(["A", "B"]),
    scope=st.sampled_from(["read", "write"]),
    risk=st.sampled_from([0, 49, 50, "4", None]),
)
def test_the_reasons_are_the_bodies_that_held(
    mesh_policy: Policy, explainer: Explainer, enterprise: str, target: str, scope: str, risk: Any
) -> None:
    value: dict[str, Any] = {
        "subject": {"enterprise": enterprise},
        "resource": {"enterprise": target, "scope": scope},
        "context": {"session_risk": risk},
    }
    decision = mesh_policy.decide(ACCESS, value)
    found = explainer.explain(mesh_policy.bundle, decision, value)
    held = [one for one in found.rules if one.rule.endswith("#reasons") and one.held]
    assert found.complete
    assert len(held) == len(decision.reasons)


@pytest.mark.parametrize(
    ("body", "value", "failed"),
    [
        ("input.x > 1\n\tinput.y > 1", {"x": 2, "y": 1}, "input.y > 1"),
        ("input.x > 1; input.y > 1", {"x": 1, "y": 2}, "input.x > 1"),
        ("some x in input.xs\n\tx > 3", {"xs": [1, 2]}, "x > 3"),
        ("some x in input.xs; x > 3", {}, "some x in input.xs"),
        ("every x in input.xs {\n\t\tx > 1\n\t}\n\tinput.y", {"xs": [2], "y": False}, "input.y"),
        ("n := count(input.xs)\n\tn >\n\t\t2", {"xs": [1]}, "n >\n\t\t2"),
        ("not input.x", {"x": True}, "not input.x"),
        ('input.kind in {\n\t\t"a",\n\t\t"b",\n\t}', {"kind": "c"}, 'input.kind in {\n\t\t"a",\n\t\t"b",\n\t}'),
        ("xs := [x | some x in input.xs; x > 1]\n\tcount(xs) == 2", {"xs": [1, 2]}, "count(xs) == 2"),
        ("f(input.x)", {"x": 1}, "f(input.x)"),
        ("input.x == 1", {"x": 2}, "input.x == 1"),
    ],
)
def test_the_first_expression_that_failed_is_named(body: str, value: Any, failed: str) -> None:
    found, allowed = explained(f"allow if {{\n\t{body}\n}}\n\nf(x) if x > 1\n", value)
    assert not allowed
    assert found.complete
    (allow,) = tried(found, "allow")
    assert (allow.held, allow.failed) == (False, failed)


def test_a_rule_on_one_line_is_one_expression() -> None:
    found, _ = explained("allow if input.x == 1\n", {"x": 2})
    assert tried(found, "allow")[0].failed == "input.x == 1"


def test_of_several_bodies_each_is_tried() -> None:
    found, allowed = explained("allow if input.x == 1\n\nallow if input.y == 1\n", {"x": 2, "y": 1})
    assert allowed
    assert [(one.held, one.failed) for one in tried(found, "allow")] == [(False, "input.x == 1"), (True, None)]
    assert tried(found, "allow", "default")[0].held is False


def test_branches_are_tried_up_to_the_one_that_holds() -> None:
    rules = "level := 1 if input.x == 1\n\nelse := 2 if input.x == 2\n\nelse := 3\n\nallow if level == 2\n"
    found, allowed = explained(rules, {"x": 2})
    assert allowed
    assert [(one.kind, one.held) for one in found.rules if one.rule == "p.rego#level"] == [
        ("rule", False),
        ("else", True),
    ]


def test_a_function_is_named_as_one() -> None:
    found, _ = explained("allow if f(input.x)\n\nf(x) if x > input.least\n", {"x": 1, "least": 2})
    (function,) = tried(found, "f", "function")
    assert (function.held, function.failed) == (None, None)
    assert [(one.path, one.value) for one in function.looked_at] == [("input.least", 2)]


@pytest.mark.parametrize(
    ("rule", "use", "given", "failed"),
    [
        ("names contains name if some name in input.names", '"a" in names', {"names": []}, "some name in input.names"),
        ("levels[name] := n if some name, n in input.levels", "levels.a == 1", {"levels": {"a": 1}}, None),
        ("levels[name] := n if some name, n in input.levels", "levels.a == 1", {}, "some name, n in input.levels"),
        ("limits.small := 1 if input.x", "limits.small == 1", {"x": True}, None),
        ("limits.small := 1 if input.x", "limits.small == 1", {"x": False}, "input.x"),
    ],
)
def test_rules_that_collect_hold_when_they_have_something(rule: str, use: str, given: Any, failed: str | None) -> None:
    found, allowed = explained(f"{rule}\n\nallow if {use}\n", given)
    assert found.complete
    (one,) = [each for each in found.rules if each.line == 9]
    assert (one.held, one.failed) == (failed is None, failed)
    assert allowed is (failed is None)


def test_a_rule_of_another_package_is_tried_where_it_is_used() -> None:
    rules = "allow if data.q.good\n"
    found, _ = explained(rules, {"x": 1}, q="package q\n\ngood if input.x == 2\n\nunused if input.x == 1\n")
    assert [(one.rule, one.failed) for one in found.rules if one.rule.startswith("q.rego")] == [
        ("q.rego#good", "input.x == 2")
    ]


def test_a_body_that_holds_without_a_value_fails_with_its_value() -> None:
    found, _ = explained("level := input.level if input.x == 1\n\nallow if level == 2\n", {"x": 1})
    (level,) = tried(found, "level")
    assert (level.held, level.failed) == (False, ":= input.level")


def test_a_rule_that_cannot_be_evaluated_has_a_code() -> None:
    found, allowed = explained("allow if 1 / input.x == 1\n", {"x": 0})
    assert not allowed
    assert tried(found, "allow")[0].fault == "policy_failed"


def test_values_that_are_missing_or_large_are_told_apart() -> None:
    found, _ = explained("allow if {\n\tinput.big != input.none\n}\n", {"big": "x" * 2000})
    big, none = tried(found, "allow")[0].looked_at
    assert (big.present, big.value) == (True, None)
    assert (none.present, none.value) == (False, None)


def test_rules_from_elsewhere_are_compiled_with_probes_in_another_process_first() -> None:
    tried_first: list[Bundle] = []
    bundle = risk_limit(30)
    policy = Policy(bundle, Engine(bundle, timeout_s=20.0))
    decision = policy.decide(ACCESS, INTENT)
    policy.close()

    def refuse(marked: Bundle) -> None:
        tried_first.append(marked)
        raise BundleRefused("it ended the process")

    refusing = Explainer(try_first=refuse)
    for _ in range(3):
        assert refusing.explain(bundle, decision, INTENT) == Explained([], complete=False)
    assert len(tried_first) == 2, "with the beginnings of bodies, and without; and then not again for a while"
    assert Explainer().explain(bundle, decision, INTENT).complete


def test_an_input_that_is_too_much_is_not_explained() -> None:
    found, _ = explained("allow if input.x\n", {"x": list(range(5000))})
    assert (found.rules, found.complete) == ([], False)


def test_a_decision_of_other_rules_is_noticed(mesh_policy: Policy, explainer: Explainer) -> None:
    forged = mesh_policy.decide(ACCESS, INTENT).model_copy(update={"allow": False})
    assert not explainer.explain(mesh_policy.bundle, forged, INTENT).complete
