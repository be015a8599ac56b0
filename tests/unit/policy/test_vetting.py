"""What a bundle may not contain is refused when it is loaded, with its place."""

from __future__ import annotations

import re

import pytest

from agent_mesh.policy import BundleRefused, Engine
from tests.unit.policy.conftest import bundle_of


def load(*rules: str, **more: str) -> None:
    Engine(bundle_of(*rules, **more)).close()


@pytest.mark.parametrize(
    "rule",
    [
        "allow := opa.runtime()",
        "allow if opa.runtime().env.PATH",
        "allow if opa . runtime().env",
        'allow if opa["runtime"]().env',
        "allow if { f := opa.runtime; f }",
        'allow if http.send({"method": "get", "url": "http://localhost"})',
        "allow if time.now_ns() > 0",
        'allow if time.parse_rfc3339_ns("2026-01-01T00:00:00Z") > 0',
        'allow if time.date([0, "UTC"])',
        'allow if rand.intn("x", 2) == 1',
        'allow if uuid.rfc4122("x")',
        'allow if net.lookup_ip_addr("localhost")',
        'allow if io.jwt.decode_verify("x", {})',
        "allow if 30 % 3 == 0",
        "allow if max([89, 256]) == 256",
        "allow if min([89, 256]) == 89",
        "allow if sort([89, 256]) == [89, 256]",
        'allow if input.x with input as {"x": true}',
        'allow := $"{opa.runtime()}"',
        "allow := $`{opa.runtime()}`",
    ],
)
def test_what_would_be_wrong_unrepeatable_or_indiscreet_is_refused(rule: str) -> None:
    with pytest.raises(BundleRefused, match=re.escape("p.rego:3: ")):
        load(rule)


@pytest.mark.parametrize(
    "rule", ["allow if foo.bar(1)", "allow if foobar(1)", "allow if not foo(1)", "allow if q.f(1)"]
)
def test_a_function_that_does_not_exist_is_refused(rule: str) -> None:
    with pytest.raises(BundleRefused, match="no such function"):
        load(rule, q="g(x) := x")


@pytest.mark.parametrize(
    "rule",
    [
        "allow if x > 1",
        "allow if not x > 1",
        "allow if xs[i]",
        "allow if input.xs[i] == 1",
        "allow if x = 1",
        "p[x] := true if input.x",
        "f(x) := y",
        "allow if { some x in input.xs; y > 1 }",
    ],
)
def test_a_variable_that_nothing_declares_is_refused(rule: str) -> None:
    with pytest.raises(BundleRefused, match="declares this variable"):
        load(rule)


@pytest.mark.parametrize("source", ["allow if {", "allow := ", "allow if input.x ==", "allow := 1 2 3 :="])
def test_a_policy_that_cannot_be_parsed_is_refused(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BundleRefused):
        load(source)
    assert capfd.readouterr() == ("", "")


def test_what_only_looks_forbidden_in_text_and_comments_is_taken() -> None:
    load('allow if input.x == "opa.runtime() % 3 with $"', "# opa.runtime() % 3 with max(")


@pytest.mark.parametrize(
    "rules",
    [
        ("f(x, [y, _]) := x + y", "allow if f(1, [2, 3]) == 3"),
        ("allow if { [a, b] := input.pair; a < b }",),
        ("allow if { some i, x in input.xs; i < x }",),
        ("allow if { every x in input.xs { x > 1 } }",),
        ("allow if { xs := {x | some x in input.xs}; input.y in xs }",),
        ("names contains name if { some name in input.names }", 'allow if "a" in names'),
        ('allow if contains(input.text, "a")',),
        ("limit := 3", "allow if input.x < data.p.limit"),
        ("maximum := 3", "allow if input.max < maximum"),
    ],
)
def test_what_declares_its_variables_is_taken(rules: tuple[str, ...]) -> None:
    load(*rules)


def test_other_packages_are_called_by_path_and_by_import() -> None:
    load("import data.q", "import data.q as other", "allow if { q.f(1); other.f(1); data.q.f(1) }", q="f(x) if x > 0")


def test_a_module_without_a_package_is_refused() -> None:
    bundle = bundle_of("allow := true")
    broken = bundle.model_copy(update={"modules": {"p.rego": "allow := true\n"}})
    with pytest.raises(BundleRefused, match="package"):
        Engine(broken)


@pytest.mark.parametrize("package", ["p", "p.more", "p.more.still"])
def test_a_test_may_not_stand_where_it_would_change_rules(package: str) -> None:
    bundle = bundle_of("allow := true").model_copy(
        update={"tests": {"p_test.rego": f"package {package}\n\ntest_it := true\n"}}
    )
    with pytest.raises(BundleRefused, match="package of its own"):
        Engine(bundle, with_tests=True)
    Engine(bundle).close()
