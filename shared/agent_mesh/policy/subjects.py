"""Who asks, as the rules see it."""

from __future__ import annotations

from pydantic import JsonValue

from agent_mesh.platform.settings import Settings


def groups_of(email: str, settings: Settings) -> list[str]:
    """Return the groups of somebody, in alphabetical order: `callers` and `operators`, as the settings list them."""
    groups = {"callers": settings.callers, "operators": settings.operators}
    return [name for name, members in sorted(groups.items()) if email in members]


def subject_of(email: str, settings: Settings) -> dict[str, JsonValue]:
    """Return the `subject` of an input: `id` and `groups`."""
    return {"id": email, "groups": list(groups_of(email, settings))}
