"""Policy: Rego rules in versioned bundles decide, by one adapter that denies whenever anything is amiss."""

from agent_mesh.policy.bundles import Bundle, Manifest, bundle_names, packaged_bundle, read_bundle
from agent_mesh.policy.decisions import ACCESS, DISPATCH, Decision, Policy, access_answer, access_input
from agent_mesh.policy.engine import Engine
from agent_mesh.policy.errors import BundleRefused, NoAnswer, PolicyError, Refusal
from agent_mesh.policy.inputs import InputLimits
from agent_mesh.policy.rego_tests import TestReport, run_tests
from agent_mesh.policy.rehearsal import rehearse

__all__ = [
    "ACCESS",
    "DISPATCH",
    "Bundle",
    "BundleRefused",
    "Decision",
    "Engine",
    "InputLimits",
    "Manifest",
    "NoAnswer",
    "Policy",
    "PolicyError",
    "Refusal",
    "TestReport",
    "access_answer",
    "access_input",
    "bundle_names",
    "packaged_bundle",
    "read_bundle",
    "rehearse",
    "run_tests",
]
