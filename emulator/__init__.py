"""A local stand-in for the parts of Google Cloud that Agent Mesh runs on.

It starts the Firestore and Pub/Sub emulators, an OpenID Connect issuer, a push
bridge, schedules and every function of ``infra/roles.json``. It imports nothing
from ``agent_mesh``: Google does not know us either.

Use it as ``python -m emulator up`` or, in tests, as ``emulator.stack.LocalStack``.
"""

from __future__ import annotations
