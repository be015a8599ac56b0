"""What a reader missed of a topic, and whether that is all of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from agent_mesh.relay.messages import Message

HISTORY_LIMIT: Final = 50
"""Most messages of a topic that are replayed to who is new, and most that are read at once."""

RESUME_LIMIT: Final = 1000
"""Most messages of a topic that are read for a reader who was here before, before those 50."""


class GapReason(StrEnum):
    """Why a stream cannot go on exactly where it was."""

    TOO_OLD = "too_old"
    """More was published since than is read for one reader, or the position is older than anything that is kept."""
    UNKNOWN = "unknown"
    """The position is none that this topic ever had."""
    CURSOR_FULL = "cursor_full"
    """The stream had more topics than its cursor could name, and this one was left out."""


@dataclass(frozen=True)
class Replay:
    """What a topic holds behind a position, oldest first.

    With a `gap`, messages before the first of these may have been missed. Everything up to `position` is in here or was
    there before; it need not be the number of a message.
    """

    messages: tuple[Message, ...]
    position: int
    gap: GapReason | None = None


class StoredMessages(Protocol):
    """Reads what was missed."""

    def latest(self, topic: str) -> Replay:
        """Return the newest messages of a topic, at most 50."""
        ...

    def since(self, topic: str, position: int) -> Replay:
        """Return exactly what came after a position, or the newest messages and the reason of the gap."""
        ...
