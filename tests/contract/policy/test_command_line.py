"""`agent-mesh policy` against the running function."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_mesh.cli._app import app
from agent_mesh.policy import Bundle, packaged_bundle
from tests.contract.policy.conftest import Policies
from tests.policies import INTENT, risk_limit, variant

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(policies: Policies, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command in the folder of the stack: exit code, stdout, stderr. The packaged policy is put back."""
    for name in ("AGENT_MESH_ENV", "AGENT_MESH_URL", "AGENT_MESH_AUDIENCE", "AGENT_MESH_AS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(policies.place)

    def command(*words: str, stdin: str | None = None) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, words, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    yield command
    policies.post("/policies/unshadow", {})
    policies.post("/policies/packaged/activate", {})


def folder_of(bundle: Bundle, place: Path) -> str:
    place.mkdir(exist_ok=True)
    (place / "manifest.json").write_text(bundle.manifest.model_dump_json())
    for file, source in (bundle.modules | bundle.tests).items():
        (place / file).write_text(source, encoding="utf-8")
    return str(place)


def test_a_version_from_the_folder_to_force_and_back(run: Run, tmp_path: Path) -> None:
    bundle = risk_limit(17)
    code, out, err = run("policy", "push", folder_of(bundle, tmp_path / "bundle"))
    assert (code, bundle.version in out) == (0, True), err
    digits = bundle.version.removeprefix("sha256:")[:12]
    assert digits in err, "it says what to do next"
    code, out, _ = run("policy", "shadow", digits)
    assert (code, f"in its shadow {bundle.version}" in out) == (0, True)
    code, out, _ = run("policy", "activate", digits, "--json")
    state = json.loads(out)
    assert (code, state["active"]) == (0, bundle.version)
    assert "shadow" not in state
    code, out, _ = run("policy", "list")
    assert (code, f"in force {bundle.version}" in out) == (0, True)
    assert f"packaged is {packaged_bundle('mesh').version}" in out
    assert re.search(rf"^{digits} +{bundle.manifest.release} ", out, re.MULTILINE), "short enough for a narrow terminal"
    code, _, err = run("policy", "rollback", "--revision", str(state["revision"] - 1))
    assert (code, "conflict" in err) == (1, True)
    code, out, _ = run("policy", "rollback", "--revision", str(state["revision"]))
    assert (code, "in force packaged" in out) == (0, True)


def test_a_bundle_whose_tests_fail_is_not_taken_and_says_so(run: Run, tmp_path: Path) -> None:
    failing = 'package own_test\n\ntest_it := {"decision": "access", "given": {}, "expect": {"allow": true}}\n'
    folder = folder_of(variant(test=failing), tmp_path / "bundle")
    code, out, _ = run("policy", "test", folder)
    assert code == 1
    assert "FAILED own_test/test_it: allow is False, not True" in out
    code, _, err = run("policy", "push", folder)
    assert (code, "allow is False, not True" in err) == (1, True)
    code, out, _ = run("policy", "test", folder_of(risk_limit(18), tmp_path / "bundle"), "--json")
    assert (code, json.loads(out)["passed"]) == (0, 1)


def test_an_explanation_is_of_one_intent(run: Run) -> None:
    code, _, err = run("policy", "explain", "-", stdin=f"{json.dumps(INTENT)}\n{json.dumps(INTENT)}")
    assert (code, "FILE: is not one JSON document" in err) == (2, True)


def test_an_explanation_for_people_names_what_failed(run: Run) -> None:
    denied = {**INTENT, "context": {"session_risk": 77}}
    code, out, _ = run("policy", "explain", "-", stdin=json.dumps(denied))
    assert code == 0
    assert "deny: Denied by access.rego#allow: session_risk_too_high." in out
    assert "session_risk < risk_limit" in out
    code, out, _ = run("policy", "explain", "-", "--json", stdin=json.dumps(INTENT))
    assert json.loads(out)["answer"]["policy_version"] == packaged_bundle("mesh").version


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (("policy", "activate", "abc"), "", "too short"),
        (("policy", "activate", "0123456789"), "", "begins 0 of"),
        (("policy", "explain", "-"), "{", "Invalid JSON"),
        (("policy", "explain", "-"), "{}", "subject"),
        (("policy", "explain", "no such file"), "", "cannot be read"),
        (("policy", "push", "."), "", "manifest.json"),
    ],
)
def test_what_is_asked_wrongly_is_said(run: Run, words: tuple[str, ...], stdin: str, said: str) -> None:
    code, _, err = run(*words, stdin=stdin)
    assert (code, said in " ".join(err.split())) == (2, True), err
