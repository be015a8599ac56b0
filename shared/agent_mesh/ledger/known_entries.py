"""Which of the newest entries are known by their id, and where they stand: what one process has in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_mesh.ledger.bundle_index import digest_of
from agent_mesh.ledger.tiles import TILE_WIDTH

REMEMBERED: Final = 64 * TILE_WIDTH
"""Most entries that are kept, counted back from the newest: about 2 MB."""


class KnownEntries:
    """The places of the entries `[begin, end)`, all of them, and of some before. Not safe for threads."""

    def __init__(self) -> None:
        """Know nothing: of the ledger's first 0 entries everything is known."""
        self.begin = 0
        self.end = 0
        self._places: dict[bytes, int] = {}

    def place(self, entry_id: str) -> int | None:
        """Return where an entry stands, None if it is not known: then it does not stand at `begin` or after it."""
        return self._places.get(digest_of(entry_id))

    def unread(self, size: int) -> int:
        """Return from which entry on those of a ledger of `size` are to be read.

        A process that has just started reads the last bundle alone: older entries are looked up where one is asked for.
        """
        if self.end:
            return max(self.end, size - REMEMBERED)
        return max(0, size - 1) // TILE_WIDTH * TILE_WIDTH

    def learn(self, digests: Sequence[bytes], first: int) -> None:
        """Take the digests of the ids of the entries from `first` on: those that come next, or later ones."""
        if first > self.end:
            self.begin = first
        for index, digest in enumerate(digests, start=first):
            self._places.setdefault(digest, index)
        self.end = first + len(digests)
        self.begin = max(self.begin, self.end - REMEMBERED)
        while len(self._places) > REMEMBERED:
            del self._places[next(iter(self._places))]
