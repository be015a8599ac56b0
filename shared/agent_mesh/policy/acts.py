"""The events of what operators do to the policy: who, what, and the revision of the switch that it made."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from agent_mesh.platform.clock import rfc3339
from agent_mesh.platform.events import EventLog
from agent_mesh.policy.switch import Switch
from agent_mesh.policy.versions import StoredVersion

UPLOADED: Final = "mesh.policy.uploaded"
ACTIVATED: Final = "mesh.policy.activated"
ROLLED_BACK: Final = "mesh.policy.rolled_back"
SHADOWED: Final = "mesh.policy.shadowed"
UNSHADOWED: Final = "mesh.policy.unshadowed"
THROWN: Final = (ACTIVATED, ROLLED_BACK, SHADOWED, UNSHADOWED)


def tell_uploaded(events: EventLog, stored: StoredVersion) -> None:
    """Gather the event of an upload."""
    data: dict[str, JsonValue] = {"actor": stored.uploaded_by, "release": stored.release, "tests": stored.test_count}
    events.emit(UPLOADED, stored.version, data, once=rfc3339(stored.uploaded_at))


def tell_thrown(events: EventLog, kind: str, bundle: str, switch: Switch) -> None:
    """Gather the event of a change of the switch of a bundle; one revision is one event of a kind."""
    data: dict[str, JsonValue] = {
        "actor": switch.changed_by,
        "active": switch.active,
        "shadow": switch.shadow,
        "revision": switch.revision,
    }
    events.emit(kind, bundle, data, once=str(switch.revision))
