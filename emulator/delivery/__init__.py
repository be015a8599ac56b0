"""How Pub/Sub delivers to a push endpoint: filters, envelopes, retries, order, dead letters.

Nothing here knows where messages come from, so that the bridge to the official emulator and
an embedded Pub/Sub share it.
"""

from __future__ import annotations
