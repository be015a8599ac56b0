"""What an agent's handler may raise.

```
AgentError
├── RetryableError   it may go well another time: over Pub/Sub the task is delivered again, over HTTP it has failed
├── TerminalError    it can never go well: the task is dead at once and its message goes to the dead letters
└── RunCancelled     the handler saw that the task was cancelled and stopped
```

Any other exception counts as retryable: nobody said that it is final.
"""

from __future__ import annotations

import operator


class AgentError(Exception):
    """Base of what a handler raises on purpose. `cost_cents` is charged although the run did not succeed."""

    def __init__(self, detail: str, *, code: str = "agent_error", cost_cents: int = 0) -> None:
        """`detail` and `code` (a snake_case word) are shown to the caller: no secrets in them."""
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.cost_cents = operator.index(cost_cents)  # money is never a float


class RetryableError(AgentError):
    """It may go well another time."""


class TerminalError(AgentError):
    """It can never go well."""


class RunCancelled(AgentError):
    """The handler stopped because its task was cancelled."""

    def __init__(self, detail: str = "The handler stopped on request.", *, cost_cents: int = 0) -> None:
        """The work done so far may be charged."""
        super().__init__(detail, code="cancelled", cost_cents=cost_cents)
