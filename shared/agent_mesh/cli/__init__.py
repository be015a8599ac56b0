"""The `agent-mesh` command: a client of the deployed or local functions, never of Firestore or Pub/Sub."""

from __future__ import annotations

from agent_mesh.cli._app import main

__all__ = ["main"]
