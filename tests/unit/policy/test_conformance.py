"""OPA's own cases, evaluated as decisions are: compiled, by entry point (tests/data/opa-cases/SOURCES.md)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import grpc  # noqa: F401 - loaded first, as in every function: what the engine does beside it is what counts
import pytest

from agent_mesh.policy._rego import Compiled, Interpreter
from agent_mesh.policy.errors import NoAnswer, PolicyError, Refusal

CASES: Final[list[dict[str, Any]]] = [
    json.loads(line)
    for line in (Path(__file__).resolve().parents[2] / "data/opa-cases/cases.jsonl").read_text("utf-8").splitlines()
]

QUERY: Final = re.compile(r"data((?:\.\w+)+) = ([a-z_]\w*)")

UNSUPPORTED: Final = {
    r"\bgraphql\.": "regopy 1.5.2 has no GraphQL",
    r"\bnet\.": "regopy 1.5.2 has no functions of networks",
    r"\bjson\.(match|verify)_schema\b": "regopy 1.5.2 has no JSON schemas",
    r"\bproviders\.aws\.": "regopy 1.5.2 does not sign for AWS",
    r"\brego\.(metadata|parse_module)\b": "regopy 1.5.2 does not reflect",
    r"\bstrings\.render_template\b": "regopy 1.5.2 has no templates",
    r"\bopa\.runtime\b": "forbidden in a bundle: it reveals the environment",
    r"\btime\.": "forbidden in a bundle: it ends the process where grpc is loaded",
}

DIFFERENT: Final = {
    "inputvalues/loopback undefined": "without an input, ours is {}",
    "virtualdocs/undefined: in set literal": "an undefined member is left out, where OPA drops the set",
    "virtualdocs/undefined: in array coprehension body": "the same in a comprehension",
}


def reason(case: dict[str, Any]) -> str:
    """Why a case cannot be asked, or nothing."""
    query = QUERY.fullmatch(case["query"])
    if query is None or query[2] == "input":
        return "its query is more than one rule, and decisions are always one"
    source = "\n".join(case["modules"] or [])
    return next((why for pattern, why in UNSUPPORTED.items() if re.search(pattern, source)), "")


ASKED: Final = [case for case in CASES if not reason(case)]


def answer(case: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The bindings of a case in OPA's form, None for an error."""
    query = QUERY.fullmatch(case["query"])
    assert query is not None
    entrypoint = query[1].removeprefix(".").replace(".", "/")
    sources = {f"{number}.rego": source for number, source in enumerate(case["modules"] or [])}
    text = json.dumps(case["input"], ensure_ascii=False) if "input" in case else case.get("input_term", "{}")
    interpreter = Interpreter(strict=case.get("strict_error", False))
    try:
        compiled = Compiled.of(sources, json.dumps(case.get("data") or {}, ensure_ascii=False), [entrypoint])
        return [{query[2]: interpreter.evaluate(compiled, entrypoint, text)}]
    except NoAnswer as refused:
        return [] if refused.code is Refusal.UNDEFINED else None
    except PolicyError:
        return None


def comparable(bindings: list[dict[str, Any]] | None, *, in_any_order: bool) -> object:
    if bindings is None or not in_any_order:
        return bindings
    return [{name: unordered(value) for name, value in found.items()} for found in bindings]


def unordered(value: object) -> object:
    if not isinstance(value, list):
        return value
    return sorted(json.dumps(item, sort_keys=True) for item in value)


@pytest.mark.parametrize("case", ASKED, ids=[f"{number}: {case['note']}" for number, case in enumerate(ASKED)])
def test_a_case_of_opa_has_opas_answer(case: dict[str, Any], request: pytest.FixtureRequest) -> None:
    if why := DIFFERENT.get(case["note"]):
        request.applymarker(pytest.mark.xfail(reason=why, strict=True))
    expects_error = "want_error" in case or "want_error_code" in case
    in_any_order = case.get("sort_bindings", False)
    expected = None if expects_error else case.get("want_result") or []
    assert comparable(answer(case), in_any_order=in_any_order) == comparable(expected, in_any_order=in_any_order)


def test_nearly_all_cases_of_supported_functions_are_answered_as_opa_does() -> None:
    assert len(CASES) == 1034
    assert len(ASKED) > 850
    assert len(DIFFERENT) / len(ASKED) <= 0.005
