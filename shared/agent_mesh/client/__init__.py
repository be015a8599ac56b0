"""The typed Python client of the orchestrator.

```python
from agent_mesh.client import MeshClient

with MeshClient.from_stack() as mesh:
    task = mesh.dispatch("light", {"message": "hello"}, budget_cents=10)
    print(task.status, task.result)
```

`MeshClient.from_environment("prod")` speaks to a deployed mesh that `agent-mesh login` stored.

Every error it raises is a `MeshClientError`; `agent_mesh.client._errors` draws the tree.
"""

from __future__ import annotations

from agent_mesh.client._audit import AUDIT, AuditClient
from agent_mesh.client._client import ORCHESTRATOR, MeshClient
from agent_mesh.client._environments import LOCAL_STACK, Environment, Environments, environments_file
from agent_mesh.client._errors import (
    AnswerUnreadable,
    ConnectionFailed,
    ConnectionTimedOut,
    EnvironmentsUnreadable,
    EnvironmentUnknown,
    MeshClientError,
    ProblemError,
    RequestInvalid,
    StackNotFound,
    StackUnreadable,
    TokenUnavailable,
    WaitTimedOut,
)
from agent_mesh.client._event_stream import ServerEvent, StreamTransport
from agent_mesh.client._relay import RELAY, RelayClient, RelayGap, Watch
from agent_mesh.client._requests import DispatchOptions, batches, dispatch_request
from agent_mesh.client._role import POLICY, RoleClient
from agent_mesh.client._stack import STACK_FILE, Stack, StackBridge, StackFunction, StackIssuer
from agent_mesh.client._target import Target, choose_target, find_target, function_target
from agent_mesh.client._tokens import GoogleTokens, LocalTokens, TokenSource
from agent_mesh.client._transport import MockTransport, PooledTransport, Reply, Request, Transport

__all__ = [
    "AUDIT",
    "LOCAL_STACK",
    "ORCHESTRATOR",
    "POLICY",
    "RELAY",
    "STACK_FILE",
    "AnswerUnreadable",
    "AuditClient",
    "ConnectionFailed",
    "ConnectionTimedOut",
    "DispatchOptions",
    "Environment",
    "EnvironmentUnknown",
    "Environments",
    "EnvironmentsUnreadable",
    "GoogleTokens",
    "LocalTokens",
    "MeshClient",
    "MeshClientError",
    "MockTransport",
    "PooledTransport",
    "ProblemError",
    "RelayClient",
    "RelayGap",
    "Reply",
    "Request",
    "RequestInvalid",
    "RoleClient",
    "ServerEvent",
    "Stack",
    "StackBridge",
    "StackFunction",
    "StackIssuer",
    "StackNotFound",
    "StackUnreadable",
    "StreamTransport",
    "Target",
    "TokenSource",
    "TokenUnavailable",
    "Transport",
    "WaitTimedOut",
    "Watch",
    "batches",
    "choose_target",
    "dispatch_request",
    "environments_file",
    "find_target",
    "function_target",
]
