"""What can go wrong with policy. None of it is ever an allow.

```
PolicyError
├── BundleRefused     a bundle that cannot be trusted to decide; it is not loaded
└── NoAnswer          an evaluation without a usable answer, with its `Refusal` code; the decision is a denial
```
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why there was no answer: the reason of the denial that takes its place."""

    INPUT_NOT_JSON = "policy_input_not_json"
    INPUT_TOO_LARGE = "policy_input_too_large"
    INPUT_TOO_DEEP = "policy_input_too_deep"
    INPUT_ESCAPED_TEXT = "policy_input_escaped_text"
    UNDEFINED = "policy_undefined"
    NOT_A_DECISION = "policy_not_a_decision"
    UNKNOWN_FUNCTION = "policy_unknown_function"
    RECURSION = "policy_recursion"
    FAILED = "policy_failed"
    TIMED_OUT = "policy_timed_out"
    OVERLOADED = "policy_overloaded"


class PolicyError(Exception):
    """Base of the capability's errors."""


class BundleRefused(PolicyError):
    """The bundle breaks a rule that keeps decisions safe and repeatable; the message says where."""


class NoAnswer(PolicyError):
    """An evaluation ended without a usable answer."""

    def __init__(self, code: Refusal, detail: str) -> None:
        """Keep the code, which is the denial's reason, and a sentence without any of the input."""
        super().__init__(detail)
        self.code = code
        self.detail = detail
