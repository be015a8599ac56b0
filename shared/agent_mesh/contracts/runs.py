"""The agent's contract: the run that it is asked for, its answer, and the result message it publishes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.contracts.values import (
    Attempt,
    CallbackUrl,
    Cents,
    IdempotencyKey,
    JsonObject,
    Strict,
    TaskId,
    Tolerant,
    TraceId,
    UnixSeconds,
)


class RunRequest(Strict):
    """`POST /run`: one run of the agent's handler."""

    payload: JsonObject
    ttl: UnixSeconds = Field(description="Unix time in seconds after which the run must not start.")
    budget_cents: Cents = Field(description="The most that the run may cost, in cents.")
    idempotency_key: IdempotencyKey | None = None
    trace_id: TraceId | None = None
    callback_url: CallbackUrl | None = None
    task_id: TaskId | None = None
    attempt: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class RunMessage(RunRequest):
    """The same as a message on topic `tasks`: fields of a newer sender are ignored, and limits may be missing."""

    model_config = ConfigDict(extra="ignore")

    ttl: UnixSeconds | None = None  # type: ignore[assignment]  # a payload may be pushed without limits of its own
    budget_cents: Cents | None = None  # type: ignore[assignment]


class RunStatus(StrEnum):
    """How a run ended; each is a terminal status of the task as well."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    DEAD = "dead"


class RunResponse(Tolerant):
    """The answer to `POST /run`."""

    status: Annotated[RunStatus, Field(strict=False)]
    result: JsonValue | None = None
    cost_cents: Cents
    idempotent: bool = Field(default=False, description="True when this is the stored answer of an earlier run.")
    attempt: Attempt = 1
    trace_id: str = ""
    task_id: str | None = None
    error: TaskFault | None = None
    callback_delivered: bool | None = Field(
        default=None, description="Of a direct run with `callbackUrl`: whether the callback took the result."
    )


class RunResult(Tolerant):
    """The message on topic `results`."""

    task_id: TaskId
    agent: str = ""
    status: Annotated[RunStatus, Field(strict=False)]
    result: JsonValue | None = None
    cost_cents: Cents
    attempt: Attempt = 1
    error: TaskFault | None = None
    trace_id: str = ""
    finished_at: float | None = Field(default=None, description="Unix seconds on the agent's clock.")
