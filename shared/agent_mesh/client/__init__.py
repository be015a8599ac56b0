"""The typed Python client of the orchestrator.

```python
from agent_mesh.client import MeshClient

with MeshClient.from_stack() as mesh:
    task = mesh.dispatch("light", {"message": "hello"}, budget_cents=10)
    print(task.status, task.result)
```

Every error it raises is a `MeshClientError`; `agent_mesh.client._errors` draws the tree.
"""

from __future__ import annotations

from agent_mesh.client._client import MeshClient
from agent_mesh.client._errors import (
    AnswerUnreadable,
    ConnectionFailed,
    ConnectionTimedOut,
    MeshClientError,
    ProblemError,
    RequestInvalid,
    StackNotFound,
    StackUnreadable,
    TokenUnavailable,
    WaitTimedOut,
)
from agent_mesh.client._requests import DispatchOptions, batches, dispatch_request
from agent_mesh.client._stack import STACK_FILE, Stack, StackBridge, StackFunction, StackIssuer
from agent_mesh.client._tokens import GoogleTokens, LocalTokens, TokenSource
from agent_mesh.client._transport import MockTransport, PooledTransport, Reply, Request, Transport

__all__ = [
    "STACK_FILE",
    "AnswerUnreadable",
    "ConnectionFailed",
    "ConnectionTimedOut",
    "DispatchOptions",
    "GoogleTokens",
    "LocalTokens",
    "MeshClient",
    "MeshClientError",
    "MockTransport",
    "PooledTransport",
    "ProblemError",
    "Reply",
    "Request",
    "RequestInvalid",
    "Stack",
    "StackBridge",
    "StackFunction",
    "StackIssuer",
    "StackNotFound",
    "StackUnreadable",
    "TokenSource",
    "TokenUnavailable",
    "Transport",
    "WaitTimedOut",
    "batches",
    "dispatch_request",
]
