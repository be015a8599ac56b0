"""The locks of pessimistic transactions: on documents read, and on queries whose answer must not change.

A commit waits for the transactions that have read what it writes. Who waits for each other in a circle cannot both
win: the youngest is aborted at once. Nobody waits longer than the lock wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from emulator.firestore.documents import Change, Stored
from emulator.refusals import aborted

Matches: TypeAlias = Callable[[str, Stored | None, Stored | None], bool]
"""Whether a change of a document, from before to after, would change the answer of a query."""

CONTENTION: Final = (
    "Aborted due to cross-transaction contention. This occurs when multiple transactions attempt to access the same "
    "data, requiring Firestore to abort at least one in order to enforce serializability."
)
LOCK_TIMEOUT: Final = "Transaction lock timeout."


@dataclass(eq=False, slots=True)
class Owner:
    """Who holds locks or waits for them. A smaller ``age`` is older and wins; only transactions can be victims."""

    age: int
    victim: bool = True
    exclusive: bool = False
    holds: set[str] = field(default_factory=set)
    queries: list[Matches] = field(default_factory=list)
    wants: frozenset[str] = frozenset()
    waits_for: frozenset[Owner] = frozenset()
    wake: asyncio.Future[None] | None = None

    def minds(self, changes: Iterable[Change]) -> bool:
        """Whether one of the changes would change the answer of one of its queries."""
        return any(matches(*change) for change in changes for matches in self.queries)


class Locks:
    """The locks of one database."""

    def __init__(self, wait_seconds: float) -> None:
        """Nobody waits longer than this."""
        self.wait_seconds = wait_seconds
        self._holders: dict[str, set[Owner]] = {}
        self._with_queries: set[Owner] = set()
        self._waiting: list[Owner] = []

    async def read(self, owner: Owner, paths: Iterable[str]) -> None:
        """Lock documents for reading. Raises Refusal (ABORTED)."""
        wanted = [path for path in paths if path not in owner.holds]
        await self._until_free(owner, lambda: self._readers_in_the_way(owner, wanted))
        for path in wanted:
            owner.holds.add(path)
            self._holders.setdefault(path, set()).add(owner)

    def watch(self, owner: Owner, matches: Matches) -> None:
        """Lock the answer of a query."""
        owner.queries.append(matches)
        self._with_queries.add(owner)

    async def write(self, owner: Owner, paths: Iterable[str], foreseen: Callable[[], list[Change]]) -> None:
        """Wait until nobody else holds what is to be written, or asked for what would change. Raises Refusal (ABORTED).

        The caller writes before it awaits anything else.
        """
        owner.wants = frozenset(paths)
        try:
            await self._until_free(owner, lambda: self._holders_in_the_way(owner, foreseen))
        finally:
            owner.wants = frozenset()

    def release(self, owner: Owner) -> None:
        """Give back all locks and let the others try again, in the order they came."""
        for path in owner.holds:
            holders = self._holders[path]
            holders.discard(owner)
            if not holders:
                del self._holders[path]
        owner.holds.clear()
        owner.queries.clear()
        self._with_queries.discard(owner)
        self._wake_all()

    def _wake_all(self) -> None:
        for waiting in self._waiting:
            if waiting.wake and not waiting.wake.done():
                waiting.wake.set_result(None)

    def _readers_in_the_way(self, owner: Owner, paths: list[str]) -> set[Owner]:
        found = set()
        for path in paths:
            holders = self._holders.get(path, set())
            found |= {each for each in holders if each is not owner and (owner.exclusive or each.exclusive)}
            if not owner.holds:  # who holds nothing yet lets those pass who came to write
                found |= {each for each in self._waiting if each is not owner and path in each.wants}
        return found

    def _holders_in_the_way(self, owner: Owner, foreseen: Callable[[], list[Change]]) -> set[Owner]:
        found = {each for path in owner.wants for each in self._holders.get(path, ()) if each is not owner}
        asking = self._with_queries - found - {owner}
        changes = foreseen() if asking else []
        return found | {each for each in asking if each.minds(changes)}

    async def _until_free(self, owner: Owner, in_the_way: Callable[[], set[Owner]]) -> None:
        blockers = in_the_way()
        if not blockers:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.wait_seconds
        self._waiting.append(owner)
        try:
            while blockers:
                owner.waits_for = frozenset(blockers)
                self._break_circle(owner)
                owner.wake = loop.create_future()
                await _woken(owner.wake, deadline - loop.time())
                blockers = in_the_way()
        finally:
            owner.waits_for, owner.wake = frozenset(), None
            self._waiting.remove(owner)
            if owner.wants:
                self._wake_all()

    def _break_circle(self, owner: Owner) -> None:
        circle = _circle(owner)
        victims = [each for each in circle if each.victim]
        if not victims:
            return
        youngest = max(victims, key=lambda each: each.age)
        if youngest is owner:
            raise aborted(CONTENTION)
        if youngest.wake and not youngest.wake.done():
            youngest.wake.set_exception(aborted(CONTENTION))


async def _woken(wake: asyncio.Future[None], seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await wake
    except TimeoutError:
        raise aborted(LOCK_TIMEOUT) from None


def _circle(start: Owner) -> list[Owner]:
    """Those who wait for each other in a circle with this one; empty if there is none."""
    path: list[Owner] = []
    seen: set[Owner] = set()

    def reaches(owner: Owner) -> bool:
        path.append(owner)
        for blocker in owner.waits_for:
            if blocker is start:
                return True
            if blocker not in seen:
                seen.add(blocker)
                if reaches(blocker):
                    return True
        path.pop()
        return False

    return path if reaches(start) else []
