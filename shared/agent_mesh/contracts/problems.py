"""Every error that crosses a boundary, as one small tree.

```
MeshError                     code, HTTP status, title; says what was wrong and what to do
├── InvalidRequest        422 the body, query or path does not fit the contract (names the fields)
│   ├── MalformedRequest  400 not JSON, not base64, not a push envelope
│   ├── BodyTooLarge      413
│   └── TtlExpired        422 the task may no longer run
├── Unauthenticated       401 no ID token, or one that does not verify
├── Forbidden             403 a valid token of somebody who may not do this
│   ├── TopicDenied       403 policy does not let this caller publish on the topic, or read it
│   └── PolicyDenied      403 the rules in force deny it
├── NotFound              404 no such task, dead letter or path
│   └── AgentUnknown      404
├── MethodNotAllowed      405
├── UpgradeRequired       426 the path speaks WebSocket
├── Conflict              409 the state does not allow it
│   ├── IdempotencyConflict
│   └── AgentPaused
├── BudgetExceeded        402 the run costs more than somebody allowed
├── Busy                  429 the same run is going on; ask again
├── Unavailable           503 something we need cannot be reached; ask again
│   └── AttemptFailed     503 this attempt of a pushed run failed; Pub/Sub delivers it again
└── Internal              500 a defect of ours
```

The wire shape is RFC 9457 `application/problem+json` with two extensions: `code`, a stable snake_case word, and
`traceId`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_CONTENT_TYPE = "application/problem+json"
PROBLEM_TYPE_PREFIX = "urn:agent-mesh:problem:"


class FieldFault(BaseModel):
    """One field that is wrong: where it stands and what is wrong with it."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="Dotted path of the field, `body` when the whole body is meant.")
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details, the one shape of every error body."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    type: str = Field(description="URN of the kind of problem; ends in `code`.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str = Field(default="", description="Path of the request that met the problem.")
    code: str = Field(description="Stable snake_case word; see docs/errors.md.")
    trace_id: str = Field(default="", alias="traceId")
    task_id: str | None = Field(
        default=None, alias="taskId", description="The rejected task that the refusal left, if any."
    )
    errors: list[FieldFault] | None = Field(default=None, description="The fields at fault, where there are any.")


class MeshError(Exception):
    """Base of every error that a caller can meet."""

    code: ClassVar[str] = "mesh_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Agent Mesh error"

    def __init__(
        self,
        detail: str,
        *,
        errors: list[FieldFault] | None = None,
        task_id: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """Keep what the caller is told; `retry_after_s` (seconds) becomes the `Retry-After` header."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.task_id = task_id
        self.retry_after_s = retry_after_s

    def to_problem(self, *, instance: str = "", trace_id: str = "") -> Problem:
        """Return the wire form of this error."""
        return Problem(
            type=PROBLEM_TYPE_PREFIX + self.code,
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            code=self.code,
            trace_id=trace_id,
            task_id=self.task_id,
            errors=self.errors,
        )


class InvalidRequest(MeshError):
    """The request is well-formed and does not fit the contract."""

    code, status, title = "invalid_request", 422, "The request does not fit the contract"


class MalformedRequest(InvalidRequest):
    """The request cannot be read at all."""

    code, status, title = "malformed_request", 400, "The request cannot be read"


class BodyTooLarge(InvalidRequest):
    """The body is larger than this endpoint takes."""

    code, status, title = "body_too_large", 413, "The body is too large"


class TtlExpired(InvalidRequest):
    """The moment after which the task must not run has passed."""

    code, status, title = "ttl_expired", 422, "The task's time to live has passed"


class Unauthenticated(MeshError):
    """No ID token, or one that does not verify. One body for every cause: the caller learns nothing to attack with."""

    code, status, title = "unauthenticated", 401, "A valid Google ID token is needed"


class Forbidden(MeshError):
    """The token is valid and its owner may not do this."""

    code, status, title = "forbidden", 403, "This identity may not do this"


class TopicDenied(Forbidden):
    """Policy does not let this identity publish on the topic, or read it; the reasons are in the detail."""

    code, title = "topic_denied", "Policy does not allow this on the topic"


class PolicyDenied(Forbidden):
    """The rules in force deny it; the detail names the rule and its reasons."""

    code, title = "policy_denied", "Policy denies this"


class NotFound(MeshError):
    """There is no such thing, or it is not the caller's to see."""

    code, status, title = "not_found", 404, "Not found"


class AgentUnknown(NotFound):
    """No agent of that name is known."""

    code, title = "agent_unknown", "No such agent"


class MethodNotAllowed(MeshError):
    """The path exists, with other methods."""

    code, status, title = "method_not_allowed", 405, "This path does not take this method"


class UpgradeRequired(MeshError):
    """The path exists and speaks another protocol than plain HTTP."""

    code, status, title = "upgrade_required", 426, "This path speaks WebSocket"


class Conflict(MeshError):
    """The state of the thing does not allow the call."""

    code, status, title = "conflict", 409, "The current state does not allow this"


class IdempotencyConflict(Conflict):
    """The idempotency key was used before, with another request."""

    code, title = "idempotency_conflict", "The idempotency key belongs to another request"


class AgentPaused(Conflict):
    """The agent takes no work now."""

    code, title = "agent_paused", "The agent is paused"


class BudgetExceeded(MeshError):
    """The run may cost more than the task or the agent may spend."""

    code, status, title = "budget_exceeded", 402, "The budget does not allow this run"


class Busy(MeshError):
    """The same run is going on elsewhere."""

    code, status, title = "busy", 429, "The same run is going on"


class Unavailable(MeshError):
    """Something the mesh needs cannot be reached at the moment."""

    code, status, title = "unavailable", 503, "Not available at the moment"


class AttemptFailed(Unavailable):
    """The handler failed in a way that may pass; the push is not acknowledged, so that it comes again."""

    code, title = "attempt_failed", "This attempt failed"


class Internal(MeshError):
    """A defect of ours; the log has the rest under the trace id."""

    code, status, title = "internal", 500, "Internal error"


def error_with_code(code: str, detail: str, *, task_id: str | None = None) -> MeshError:
    """Return the error that a stored fault's code stands for; `InvalidRequest` for a code that is no error's."""
    kinds: list[type[MeshError]] = [MeshError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = next((kind for kind in kinds if kind.code == code), InvalidRequest)
    return found(detail, task_id=task_id)
