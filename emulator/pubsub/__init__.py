"""Pub/Sub in this process or one of its own: ``google.pubsub.v1`` over gRPC, for development and tests.

It behaves as the official documentation of the service says; where the official emulator differs,
docs/emulator.md says why. One event loop holds all state, so that nothing needs a lock.
"""

from __future__ import annotations
