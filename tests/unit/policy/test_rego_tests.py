from __future__ import annotations

import pytest

from agent_mesh.policy import Bundle, Manifest, bundle_names, packaged_bundle, run_tests

RULES = 'package p\n\ndecision := {"allow": input.x > 1, "reasons": []}\n'


def report(test: str) -> str:
    """The fault of one test rule `test_it`."""
    tests = {"p_test.rego": f"package p_test\n\n{test}\n"}
    manifest = Manifest(release="1.0.0", decisions={"trial": "p/decision"})
    (only,) = run_tests(Bundle(name="trial", manifest=manifest, modules={"p.rego": RULES}, tests=tests))
    assert only.name == "p_test/test_it"
    return only.fault


@pytest.mark.parametrize("name", bundle_names())
def test_every_test_of_every_packaged_bundle_passes(name: str) -> None:
    reports = run_tests(packaged_bundle(name))
    assert reports
    assert [(report.name, report.fault) for report in reports if not report.passed] == []


def test_a_rule_that_is_true_passes() -> None:
    assert report("test_it if 1 + 1 == 2") == ""


def test_a_case_that_is_decided_as_expected_passes() -> None:
    assert report('test_it := {"decision": "trial", "given": {"x": 2}, "expect": {"allow": true}}') == ""


@pytest.mark.parametrize(
    ("test", "fault"),
    [
        ("test_it if 1 + 1 == 3", "policy_undefined"),
        ("test_it := false", "neither true nor a case"),
        ("test_it := 1", "neither true nor a case"),
        ('test_it := {"decision": "trial", "given": {"x": 1}, "expect": {"allow": true}}', "allow is False, not True"),
        ('test_it := {"decision": "trial", "given": {"x": 2}, "expect": {"allow": 1}}', "allow is True, not 1"),
        ('test_it := {"decision": "trial", "given": {"x": 2}, "expect": {"risk": null}}', "risk is 'absent'"),
        ('test_it := {"decision": "other", "given": {}, "expect": {"allow": true}}', "decides nothing of kind"),
        ('test_it := {"decision": "trial", "given": {}, "expect": {"allow": true}}', "policy_undefined"),
        ('test_it := {"decision": "trial", "given": {}, "expect": {}}', "is no case"),
        ('test_it := {"decision": "trial"}', "is no case"),
    ],
)
def test_anything_else_fails_with_what_was_found(test: str, fault: str) -> None:
    assert fault in report(test)
