"""What a policy is asked about, as text for the engine: measured first, because the engine has no bounds of its own.

Reading an input costs the engine time that grows with the square of the number of its values.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from agent_mesh.policy.errors import NoAnswer, Refusal

_ESCAPED_IN_JSON: Final = re.compile(r'["\\\x00-\x1f]')


@dataclass(frozen=True)
class InputLimits:
    """The largest input. Keys and values both count as values."""

    max_bytes: int = 256 * 1024
    max_values: int = 2_000
    max_depth: int = 32


@dataclass(frozen=True)
class InputText:
    """An input that the engine may read: canonical JSON, and whether some string of it needs an escape there."""

    canonical: str
    has_escapes: bool


def input_text(value: JsonValue, limits: InputLimits) -> InputText:
    """Return an input as the engine takes it; raise `NoAnswer` if it is too much or no JSON."""
    has_escapes = _measured(value, limits)
    try:
        canonical = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        size = len(canonical.encode())
    except ValueError as error:  # NaN, an infinity, half a surrogate pair
        raise NoAnswer(Refusal.INPUT_NOT_JSON, "The input holds a value that JSON in UTF-8 does not have.") from error
    if size > limits.max_bytes:
        raise NoAnswer(Refusal.INPUT_TOO_LARGE, f"The input is {size} bytes as JSON; at most {limits.max_bytes}.")
    return InputText(canonical, has_escapes)


def _measured(value: JsonValue, limits: InputLimits) -> bool:
    """Count without recursion; tell whether a string needs an escape."""
    level: list[object] = [value]
    count, depth, has_escapes = 0, 0, False
    while level:
        count += len(level)
        depth += 1
        if count > limits.max_values:
            raise NoAnswer(Refusal.INPUT_TOO_LARGE, f"The input has more than {limits.max_values} keys and values.")
        if depth > limits.max_depth:
            raise NoAnswer(Refusal.INPUT_TOO_DEEP, f"The input is nested deeper than {limits.max_depth}.")
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                has_escapes = has_escapes or _ESCAPED_IN_JSON.search(item) is not None
            else:
                below.extend(_parts(item))
        level = below
    return has_escapes


def _parts(item: object) -> list[object]:
    if isinstance(item, dict):
        if not all(isinstance(key, str) for key in item):
            raise NoAnswer(Refusal.INPUT_NOT_JSON, "The input has a key that is no string.")
        return [*item.keys(), *item.values()]
    if isinstance(item, list):
        return item
    if item is None or isinstance(item, (bool, int, float)):
        return []
    raise NoAnswer(Refusal.INPUT_NOT_JSON, f"The input holds a {type(item).__name__}, which JSON does not have.")
