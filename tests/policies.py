"""Versions of the mesh's policy that differ from the packaged one in a line."""

from __future__ import annotations

from typing import Any

from agent_mesh.policy import Bundle, Manifest, packaged_bundle

INTENT: dict[str, Any] = {
    "subject": {"enterprise": "A", "id": "u123", "roles": ["fin_analyst"]},
    "resource": {"enterprise": "B", "id": "dataset:finance.q4", "scope": "read"},
    "context": {"device": "compliant", "geo": "US", "session_risk": 42},
}
"""The sample intent: allowed by the packaged policy."""

_PASSING = """package own_test

test_denies_nothing_at_all := {"decision": "access", "given": {}, "expect": {"allow": false}}
"""
_RELAY = """package mesh.relay

decision := {"allow": false, "reasons": [], "obligations": {}, "policy_ref": "relay.rego#decision"}
"""


def variant(file: str = "", old: str = "", new: str = "", *, test: str = _PASSING, release: str = "1.1.0") -> Bundle:
    """Return the packaged policy with `old` replaced in a file, and one test in place of its own."""
    packaged = packaged_bundle("mesh")
    modules = dict(packaged.modules)
    if file:
        assert old in modules[file]
        modules[file] = modules[file].replace(old, new)
    decisions = dict(packaged.decisions)
    if "relay" not in decisions:
        modules["relay.rego"], decisions["relay"] = _RELAY, "mesh/relay/decision"
    manifest = Manifest(release=release, decisions=decisions)
    tests = {"own_test.rego": test} if test else {}
    return Bundle(name="mesh", manifest=manifest, modules=modules, tests=tests, base_document=packaged.base_document)


def risk_limit(limit: int) -> Bundle:
    """Return a policy that takes another risk for low."""
    return variant("access.rego", "risk_limit := 50", f"risk_limit := {limit}")
