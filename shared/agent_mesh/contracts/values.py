"""The value types that every contract shares: bounded strings, JSON objects, money and moments."""

from __future__ import annotations

import json
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter
from pydantic.alias_generators import to_camel

PAYLOAD_LIMIT_BYTES: Final = 256 * 1024
"""Largest payload, as compact UTF-8 JSON. Task and result stand in Firestore documents of at most 1 MiB."""

RESULT_LIMIT_BYTES: Final = 512 * 1024
"""Largest result, as compact UTF-8 JSON."""

FAULT_LIMIT_CHARACTERS: Final = 2000
"""Longest reason of a failure that is kept; the rest is cut off."""

MAX_ATTEMPT: Final = 1_000_000

LATEST_UNIX_SECONDS: Final = 4_102_444_800
"""2100-01-01 UTC: a later moment is nearly always milliseconds given as seconds."""

MAX_CENTS: Final = 10**12

_ANYTHING: Final = TypeAdapter(object, config=ConfigDict(ser_json_inf_nan="constants"))


def to_json(value: JsonValue) -> str:
    """Return compact JSON text; raise ValueError on NaN and infinities, which JSON (RFC 8259) does not have."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def as_json(value: object) -> JsonValue:
    """Return what pydantic makes of any value in JSON; raise ValueError or TypeError if it cannot."""
    converted: JsonValue = _ANYTHING.dump_python(value, mode="json", by_alias=True)
    return converted


def canonical_json(value: JsonValue) -> str:
    """Return JSON text that is equal for equal values, whatever the order of their keys."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


def result_text(value: JsonValue | None) -> str | None:
    """Return a result as JSON text, None if there is none; raise ValueError if it is no JSON or too large to keep."""
    if value is None:
        return None
    text = to_json(value)
    size = len(text.encode())
    if size > RESULT_LIMIT_BYTES:
        message = f"the result is {size} bytes as JSON; at most {RESULT_LIMIT_BYTES}: return a reference instead"
        raise ValueError(message)
    return text


def _storable(text: str) -> str:
    """Shorten a reason, and replace what UTF-8 does not have: it must never keep a failure from being stored."""
    return text[:FAULT_LIMIT_CHARACTERS].encode(errors="replace").decode()


def _within_payload_limit(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        size = len(to_json(value).encode())
    except ValueError as error:
        message = "holds a number that JSON does not have (NaN or an infinity)"
        raise ValueError(message) from error
    if size > PAYLOAD_LIMIT_BYTES:
        message = f"is {size} bytes as JSON; at most {PAYLOAD_LIMIT_BYTES}: send large values by reference"
        raise ValueError(message)
    return value


def _not_reserved(value: str) -> str:
    if len(value) >= len("____") and value.startswith("__") and value.endswith("__"):
        message = "is of the form __...__, which Firestore keeps for itself"
        raise ValueError(message)
    return value


JsonObject: TypeAlias = Annotated[dict[str, JsonValue], AfterValidator(_within_payload_limit)]
AgentName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
IdempotencyKey: TypeAlias = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
TraceId: TypeAlias = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
TaskId: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$"), AfterValidator(_not_reserved)]
Cents: TypeAlias = Annotated[int, Field(ge=0, le=MAX_CENTS)]
Attempt: TypeAlias = Annotated[int, Field(ge=0, le=MAX_ATTEMPT)]
FaultText: TypeAlias = Annotated[str, AfterValidator(_storable)]
UnixSeconds: TypeAlias = Annotated[float, Field(gt=0, le=LATEST_UNIX_SECONDS, allow_inf_nan=False)]
CallbackUrl: TypeAlias = Annotated[str, Field(min_length=8, max_length=2048)]


class Strict(BaseModel):
    """Base of what clients send: no coercion, no unknown field, no NaN; camelCase on the wire."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        populate_by_name=True,
    )


class Tolerant(BaseModel):
    """Base of what roles send each other: strict types; unknown fields are ignored because roles deploy one by one."""

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        populate_by_name=True,
    )
