"""Named places where a fault test may stop the process, as a power cut would.

A test arms one by writing its name into the file that `MESH_CRASH_FILE` names; the process that next comes by removes
the file and exits at once, with no clean-up of any kind. Deployed functions never look: Cloud Run sets `K_SERVICE`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CRASH_POINTS: Final = (
    "dispatch.before_accept",
    "dispatch.accepted",
    "dispatch.published",
    "dispatch.over_budget",
    "dispatch.ran_over_http",
    "agent.delivered",
    "agent.claimed",
    "agent.handled",
    "agent.outcome_stored",
    "agent.result_published",
    "agent.parked",
    "result.received",
    "result.settled",
    "result.called_back",
    "cancel.fenced",
    "sweep.republished",
    "sweep.fenced",
    "audit.delivered",
    "ledger.before_commit",
    "ledger.committed",
)
"""Every crash point, in the order of a task's way, and then of an entry's. The fault tests stop the process at each."""

_EXIT_STATUS: Final = 137

_file: Path | None = None
if os.environ.get("MESH_CRASH_FILE") and not os.environ.get("K_SERVICE"):
    _file = Path(os.environ["MESH_CRASH_FILE"])


def crash_point(name: str) -> None:
    """Stop the process here if a test armed this point. Costs one comparison where none can be armed."""
    if _file is None:
        return
    try:
        armed = _file.read_text().strip()
    except OSError:
        return
    if armed == name:
        _file.unlink(missing_ok=True)
        os._exit(_EXIT_STATUS)
