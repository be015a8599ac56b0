from __future__ import annotations

import pytest

from agent_mesh.policy import BundleRefused, packaged_bundle, rehearse, run_tests
from tests.unit.policy.conftest import bundle_of


def test_a_rehearsal_reports_the_same_as_running_the_tests_here() -> None:
    bundle = packaged_bundle("mesh")
    assert rehearse(bundle) == run_tests(bundle)


def test_an_unfit_bundle_is_refused_with_the_place() -> None:
    with pytest.raises(BundleRefused, match=r"^p\.rego:3: opa\.runtime"):
        rehearse(bundle_of("allow := opa.runtime()"))


def test_a_bundle_that_ends_the_process_ends_another_process() -> None:
    with pytest.raises(BundleRefused, match="ended the process"):
        rehearse(bundle_of("allow := " + "[" * 20_000 + "]" * 20_000))


def test_a_rehearsal_that_takes_too_long_is_refused() -> None:
    with pytest.raises(BundleRefused, match=r"within 0\.01 s"):
        rehearse(packaged_bundle("mesh"), timeout_s=0.01)
