"""A compiled form decides in place of the sources that it was made from, and of no others."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_mesh.policy import ACCESS, Bundle, Engine, Policy, bundle_names, packaged_bundle, run_tests
from agent_mesh.policy.rego_tests import TestCase
from agent_mesh.policy.saved import Saved, compile_to_save, read_saved, saved_file
from tests.policies import INTENT, risk_limit
from tests.unit.policy.conftest import bundle_of


@pytest.mark.parametrize("name", bundle_names())
def test_what_is_packaged_is_what_the_sources_compile_to(name: str) -> None:
    """`python -m agent_mesh.policy save` brings it up to date."""
    packaged = Saved.model_validate_json(saved_file(name).read_bytes())
    assert packaged == compile_to_save(packaged_bundle(name))
    assert read_saved(packaged_bundle(name)) == packaged


@pytest.mark.parametrize("name", bundle_names())
def test_it_decides_every_case_of_the_tests_as_the_sources_do(name: str) -> None:
    bundle = packaged_bundle(name)
    cases: list[TestCase] = []
    with Engine(bundle, with_tests=True) as engine:
        cases += [TestCase.model_validate(engine.evaluate(test, {})) for test in engine.tests]
    assert len(cases) == len(run_tests(bundle))
    with Engine(bundle, timeout_s=20.0) as compiled, Engine(bundle, timeout_s=20.0, saved=read_saved(bundle)) as loaded:
        one, other = Policy(bundle, compiled), Policy(bundle, loaded)
        assert [one.decide(case.decision, case.given) for case in cases] == [
            other.decide(case.decision, case.given) for case in cases
        ]


def test_it_refuses_text_that_its_rules_cannot_look_into() -> None:
    bundle = bundle_of('allow if contains(input.t, "n")')
    with Engine(bundle, timeout_s=20.0, saved=compile_to_save(bundle)) as engine:
        assert Policy(bundle, engine).decide("trial", {"t": 'a"b'}).reasons == ("policy_input_escaped_text",)


def test_of_other_rules_it_is_not_taken(tmp_path: Path) -> None:
    assert not compile_to_save(risk_limit(99)).fits(packaged_bundle("mesh"))
    assert read_saved(packaged_bundle("mesh").model_copy(update={"base_document": {"x": 1}})) is None


def other_bytes(saved: Saved) -> dict[str, str]:
    binary = saved.binary.replace(b"risk_limit := 50", b"risk_limit := 99")
    assert binary != saved.binary
    return {"compiled": base64.b64encode(binary).decode()}


@pytest.mark.parametrize(
    "change",
    [
        other_bytes,
        lambda _: {"compiled": "no base64!"},
        lambda _: {"compiled": ""},
        lambda _: {"engine": "rego-cpp 0.0.1"},
        lambda _: {"sha256": hashlib.sha256(b"").hexdigest()},
        lambda _: {"version": risk_limit(99).version},
    ],
    ids=["other bytes", "no base64", "nothing", "another engine", "another hash", "another version"],
)
def test_what_is_not_whole_is_not_taken(change: Callable[[Saved], dict[str, str]]) -> None:
    bundle = packaged_bundle("mesh")
    saved = compile_to_save(bundle)
    assert saved.fits(bundle)
    assert not saved.model_copy(update=change(saved)).fits(bundle)


def test_a_bundle_without_one_is_compiled() -> None:
    bundle: Bundle = bundle_of("allow if input.x == 1")
    assert read_saved(bundle) is None
    with Engine(bundle, timeout_s=20.0, saved=read_saved(bundle)) as engine:
        assert engine.evaluate("p/allow", {"x": 1}) is True


def test_a_loaded_policy_allows_the_sample_intent() -> None:
    bundle = packaged_bundle("mesh")
    with Engine(bundle, timeout_s=20.0, saved=read_saved(bundle)) as engine:
        assert Policy(bundle, engine).decide(ACCESS, INTENT).allow
