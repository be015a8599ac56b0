"""The orchestrator's contract: what a caller sends, and the task that it gets back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue, model_validator

from agent_mesh.contracts.problems import Problem
from agent_mesh.contracts.values import (
    AgentName,
    CallbackUrl,
    Cents,
    FaultText,
    IdempotencyKey,
    JsonObject,
    Strict,
    TaskId,
    Tolerant,
    TraceId,
    UnixSeconds,
)

BATCH_LIMIT: Final = 500


class TaskStatus(StrEnum):
    """States of a task. The last six are terminal and never change again."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    DEAD = "dead"

    @property
    def terminal(self) -> bool:
        """True for a state that never changes again."""
        return self not in {TaskStatus.ACCEPTED, TaskStatus.DELIVERED, TaskStatus.RUNNING}


class Mode(StrEnum):
    """How a task reaches its agent."""

    HTTP = "http"
    PUBSUB = "pubsub"


class DispatchRequest(Strict):
    """`POST /dispatch`: one task for one agent."""

    agent: AgentName
    payload: JsonObject = Field(description="What the agent works on; at most 256 KiB as JSON.")
    ttl: UnixSeconds = Field(description="Unix time in seconds after which the task must not run.")
    budget_cents: Cents = Field(description="The most that the run may cost, in cents.")
    idempotency_key: IdempotencyKey | None = None
    mode: Annotated[Mode, Field(strict=False)] = Mode.HTTP
    callback_url: CallbackUrl | None = Field(
        default=None, description="HTTPS address that gets the result, signed as Standard Webhooks say."
    )
    trace_id: TraceId | None = None
    not_before: UnixSeconds | None = Field(
        default=None, description="Unix time in seconds before which the task must not run (Pub/Sub mode only)."
    )

    @model_validator(mode="after")
    def _delay_fits(self) -> DispatchRequest:
        if self.not_before is None:
            return self
        if self.mode is Mode.HTTP:
            message = "notBefore needs mode pubsub: an HTTP caller waits for the answer"
            raise ValueError(message)
        if self.not_before >= self.ttl:
            message = "notBefore must be before ttl"
            raise ValueError(message)
        return self


class BatchRequest(Strict):
    """`POST /dispatch/batch`: tasks that are accepted or refused one by one. Their mode is `pubsub`."""

    tasks: Annotated[list[JsonValue], Field(min_length=1, max_length=BATCH_LIMIT)] = Field(
        description="Up to 500 requests, each as in `POST /dispatch`; `mode` may be left out."
    )


class ReplayRequest(Strict):
    """`POST /task/{id}/replay`: what the new task has of its own; the rest is the old task's."""

    ttl: UnixSeconds | None = Field(default=None, description="Default: as long from now as the first task had.")
    budget_cents: Cents | None = None
    mode: Annotated[Mode | None, Field(strict=False)] = Field(default=None, description="Default: `pubsub`.")
    idempotency_key: IdempotencyKey | None = None


class TaskFault(Tolerant):
    """Why a task did not succeed."""

    code: FaultText
    detail: FaultText
    retryable: bool = False


class CallbackState(Tolerant):
    """How far the callback of a task has come."""

    status: Literal["pending", "delivered", "failed"]
    attempts: int = 0


class PolicyMark(Tolerant):
    """Which decision of policy a task came in by, or was refused by."""

    ref: str = Field(description="`FILE#RULE` that decided.")
    version: str = Field(description="Hash of the rules that decided.")
    digest: str | None = Field(default=None, description="Hash of version, kind of decision and input.")
    groups: list[str] = Field(default=[], description="The caller's groups, as the rules saw them.")
    reasons: list[str] | None = Field(default=None, description="Stable codes of what speaks against it; on a denial.")


class Task(Tolerant):
    """A task as the caller sees it. Times are RFC 3339 in UTC, money is cents, `ttl` is Unix seconds."""

    task_id: TaskId
    status: TaskStatus
    trace_id: str
    agent: str
    mode: Mode
    ttl: float
    not_before: float | None = None
    budget_cents: int
    cost_cents: int
    attempt: int = Field(
        description="Counts deliveries that the mesh itself repeated; results of older ones are refused."
    )
    idempotency_key: str | None = None
    caller: str
    callback_url: str | None = None
    callback: CallbackState | None = None
    cancel_requested: bool | None = None
    replay_of: str | None = None
    created_at: str
    updated_at: str
    finished_at: str | None = None
    result: JsonValue | None = None
    error: TaskFault | None = None
    policy: PolicyMark | None = Field(default=None, description="The decision that let it in, or refused it.")


class TaskPage(Tolerant):
    """One page of tasks, newest first."""

    tasks: list[Task]
    next_cursor: str | None = None


class BatchAnswer(Tolerant):
    """The answer to one task of a batch: exactly one of `task` and `problem`."""

    status: int = Field(description="The HTTP status that `POST /dispatch` would have answered.")
    task: Task | None = None
    problem: Problem | None = None


class BatchResponse(Tolerant):
    """One answer per task, in the order they were sent."""

    results: list[BatchAnswer]
    accepted: int
    refused: int


class TimelineEntry(Tolerant):
    """One thing that happened to a task."""

    at: str = Field(description="RFC 3339, UTC.")
    event: str = Field(
        description="`accepted` or `received`, `scheduled`, `parked`, `claimed`, `progress`, `attempt_failed`, "
        "`finished`, `cancel_requested`, a terminal status, `callback_delivered` or `callback_failed`."
    )
    detail: str = ""
    attempt: int | None = None
    percent: float | None = None


class Timeline(Tolerant):
    """What happened to a task, oldest first."""

    task_id: TaskId
    status: TaskStatus
    events: list[TimelineEntry]


class Explanation(Tolerant):
    """Why a task is where it is, in words, and what will happen next."""

    task_id: TaskId
    status: TaskStatus
    summary: str
    reasons: list[str]
    next: str
    facts: dict[str, JsonValue]


class AgentState(Tolerant):
    """Whether an agent takes work."""

    agent: str
    paused: bool
    since: str | None = None
    by: str | None = None
    released: int | None = Field(default=None, description="Tasks that `resume` sent on at once.")


class DeadLetter(Tolerant):
    """A message that could not be processed, kept until it expires or is replayed."""

    dead_id: str
    topic: str
    reason: str
    detail: str
    attempts: int
    task_id: str | None = None
    agent: str | None = None
    at: str
    replayed_at: str | None = None
    replayed_as: str | None = None
    size_bytes: int


class DeadLetterPage(Tolerant):
    """One page of dead letters, newest first."""

    dead: list[DeadLetter]
    next_cursor: str | None = None


class DeadReplay(Tolerant):
    """What became of a dead letter that was replayed: a new task, or the message once more on its topic."""

    dead_id: str
    task: Task | None = None
    message_id: str | None = None


class SweepRequest(Strict):
    """`POST /sweep`: how long to stay and wait for tasks that fall due."""

    wait_seconds: Annotated[int, Field(ge=0, le=55)] = 0


class SweepReport(Tolerant):
    """What one sweep did."""

    republished: int = 0
    expired: int = 0
    settled: int = 0
    rejected: int = 0
    buried: int = 0
    callbacks: int = 0
    released: int = 0
    holds_freed: int = 0
    postponed: int = 0
    more: bool = False
