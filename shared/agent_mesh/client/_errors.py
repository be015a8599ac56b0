"""Every error that the client raises, as one small tree.

```
MeshClientError               anything that went wrong between the caller and the mesh
├── RequestInvalid            the request does not fit the contract; nothing was sent
├── StackUnreadable           .mesh/stack.json is not what the local stack writes
│   └── StackNotFound         there is none, here or in any folder above
├── EnvironmentUnknown        no environment of this name is stored
├── EnvironmentsUnreadable    environments.json is not what `agent-mesh login` writes
├── TokenUnavailable          no ID token could be had
├── ConnectionFailed          the mesh cannot be reached
│   └── ConnectionTimedOut    it was reached and did not answer in time
├── AnswerUnreadable          something answered, and not as the mesh does
├── ProblemError              the mesh refused; `problem` and `status` say why
└── WaitTimedOut              the task goes on; the waiting for it ended
```

Each has a stable `code` in the manner of `contracts.problems`; a `ProblemError` has the code of its problem.
"""

from __future__ import annotations

from pydantic import ValidationError

from agent_mesh.contracts.problems import PROBLEM_TYPE_PREFIX, FieldFault, Problem
from agent_mesh.contracts.tasks import Task


class MeshClientError(Exception):
    """Base of every error of the client. `problem` has it in the shape of the mesh's own errors (RFC 9457).

    `advice` is what to do about it, where the place that raised it knows; it is the end of the detail too.
    """

    status: int = 500
    code: str = "client_error"
    title: str = "The call failed"

    def __init__(self, detail: str, *, advice: str = "", errors: list[FieldFault] | None = None) -> None:
        """Keep the words and the fields at fault, where there are any."""
        detail = f"{detail} {advice}".rstrip()
        super().__init__(detail)
        self.advice = advice
        self.problem = Problem(
            type=PROBLEM_TYPE_PREFIX + self.code,
            title=self.title,
            status=self.status,
            detail=detail,
            code=self.code,
            errors=errors,
        )


class RequestInvalid(MeshClientError):
    """The request does not fit the contract; nothing was sent."""

    status, code, title = 422, "invalid_request", "The request does not fit the contract"

    def __init__(self, errors: list[FieldFault]) -> None:
        """Say which fields are at fault."""
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in errors), errors=errors)

    @classmethod
    def of(cls, error: ValidationError, where: str = "") -> RequestInvalid:
        """Return pydantic's findings as this error; `where` stands before each field."""
        return cls(
            [
                FieldFault(
                    field=".".join(str(part) for part in (where, *fault["loc"]) if part != "") or "body",
                    message=fault["msg"].removeprefix("Value error, "),
                )
                for fault in error.errors(include_url=False, include_input=False)
            ]
        )


class StackUnreadable(MeshClientError):
    """The file of the local stack is not what the stack writes."""

    status, code, title = 503, "stack_unreadable", "The local stack's addresses cannot be read"


class StackNotFound(StackUnreadable):
    """No local stack was started here or in any folder above."""

    code, title = "stack_not_found", "No local stack is running here"


class EnvironmentUnknown(MeshClientError):
    """No environment of this name is stored here."""

    status, code, title = 404, "environment_unknown", "There is no such environment"


class EnvironmentsUnreadable(MeshClientError):
    """The file of the environments is not what `agent-mesh login` writes, or cannot be read or written."""

    status, code, title = 500, "environments_unreadable", "The stored environments cannot be used"


class TokenUnavailable(MeshClientError):
    """No ID token for the mesh could be had."""

    status, code, title = 503, "token_unavailable", "No ID token could be had"


class ConnectionFailed(MeshClientError):
    """The mesh cannot be reached."""

    status, code, title = 503, "connection_failed", "The mesh cannot be reached"


class ConnectionTimedOut(ConnectionFailed):
    """The mesh was reached and did not answer in time."""

    status, code, title = 504, "connection_timed_out", "The mesh did not answer in time"


class AnswerUnreadable(MeshClientError):
    """Something answered, and not as the mesh does: a proxy, a login page, an older version."""

    status, code, title = 502, "answer_unreadable", "The answer is not the mesh's"


class ProblemError(MeshClientError):
    """The mesh refused the call."""

    def __init__(self, problem: Problem, status: int, *, retry_after_s: float | None = None) -> None:
        """Keep the problem, the HTTP status and the `Retry-After` in seconds, where the mesh gave one."""
        super().__init__(f"{problem.title} ({status} {problem.code}): {problem.detail}")
        self.problem = problem
        self.status = status
        self.code = problem.code
        self.title = problem.title
        self.retry_after_s = retry_after_s


class WaitTimedOut(MeshClientError):
    """The task goes on; the waiting for it ended."""

    status, code, title = 504, "wait_timed_out", "The task is not finished yet"

    def __init__(self, task: Task, timeout_s: float) -> None:
        """Keep the task as it was last seen."""
        super().__init__(f"Task {task.task_id} is still {task.status} after {timeout_s:g} s.")
        self.task = task
