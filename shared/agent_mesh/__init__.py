"""Agent Mesh: a serverless control plane for fleets of agents on Google Cloud.

The public SDK. Names are imported at their first use, so that a client does not pay for what only a function needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent_mesh import version

if TYPE_CHECKING:
    from agent_mesh.agents.errors import AgentError, RetryableError, RunCancelled, TerminalError
    from agent_mesh.agents.handlers import Priced
    from agent_mesh.agents.held_run import Run
    from agent_mesh.agents.sdk import Agent
    from agent_mesh.client import MeshClient, RelayClient

__all__ = [
    "Agent",
    "AgentError",
    "MeshClient",
    "Priced",
    "RelayClient",
    "RetryableError",
    "Run",
    "RunCancelled",
    "TerminalError",
    "__version__",
]

__version__ = version.VERSION

_HOMES = {
    "Agent": "agent_mesh.agents.sdk",
    "AgentError": "agent_mesh.agents.errors",
    "MeshClient": "agent_mesh.client",
    "Priced": "agent_mesh.agents.handlers",
    "RelayClient": "agent_mesh.client",
    "RetryableError": "agent_mesh.agents.errors",
    "Run": "agent_mesh.agents.held_run",
    "RunCancelled": "agent_mesh.agents.errors",
    "TerminalError": "agent_mesh.agents.errors",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
