"""A local stand-in for the parts of Google Cloud that Agent Mesh runs on.

It starts Firestore and Pub/Sub, an OpenID Connect issuer, schedules and every
function of ``infra/roles.json``, and sees to it that messages are pushed as
Pub/Sub pushes them. It imports nothing from ``agent_mesh``: Google does not know us either.

Use it as ``python -m emulator up`` or, in tests, as ``emulator.stack.LocalStack``.
"""

from __future__ import annotations
