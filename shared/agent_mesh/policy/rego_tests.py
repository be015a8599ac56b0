"""Runs the `test_*` rules of a bundle.

A test is a rule that is true, or one that gives a case: `{"decision": kind, "given": input, "expect": fields}`. A case
is decided by the same compiled rules as in production, and passes if every expected field of the decision is equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from agent_mesh.policy.bundles import Bundle
from agent_mesh.policy.engine import Engine
from agent_mesh.policy.errors import NoAnswer

_ABSENT: Final = "absent"


class TestCase(BaseModel):
    """What a test rule gives when it is about a decision."""

    __test__ = False  # no test class, whatever a collector thinks of its name
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    decision: str
    given: JsonValue
    expect: dict[str, JsonValue] = Field(min_length=1)


@dataclass(frozen=True)
class TestReport:
    """How one test ended; `fault` is empty when it passed."""

    __test__ = False

    bundle: str
    name: str
    fault: str

    @property
    def passed(self) -> bool:
        return not self.fault


def run_tests(bundle: Bundle) -> list[TestReport]:
    """Return a report of each test, in the order of their names; raise `BundleRefused` if the bundle is unfit."""
    with Engine(bundle, with_tests=True) as engine:
        return [TestReport(bundle.name, test, _fault(bundle, engine, test)) for test in engine.tests]


def _fault(bundle: Bundle, engine: Engine, test: str) -> str:
    try:
        value = engine.evaluate(test, {})
        if not isinstance(value, dict):
            return "" if value is True else f"is {value!r}: neither true nor a case"
        case = TestCase.model_validate(value)
        return _difference(case, engine.evaluate(bundle.entrypoint(case.decision), case.given))
    except NoAnswer as refused:
        return f"{refused.code}: {refused.detail}"
    except ValidationError as error:
        return f"is no case: {error.errors()[0]['msg']}"


def _difference(case: TestCase, decided: JsonValue) -> str:
    if not isinstance(decided, dict):
        return f"{case.decision} is {decided!r}, which is no decision"
    differences = [
        f"{field} is {decided.get(field, _ABSENT)!r}, not {expected!r}"
        for field, expected in case.expect.items()
        if not _equal(decided.get(field, _ABSENT), expected)
    ]
    return "; ".join(differences)


def _equal(left: JsonValue, right: JsonValue) -> bool:
    """Tell true from 1, which are equal in Python."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)
