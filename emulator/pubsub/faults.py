"""Failures on demand, by method and count, so that tests see what production does on a bad day."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from grpc import StatusCode

from emulator.refusals import Refusal

ANY_METHOD: Final = "*"


@dataclass(frozen=True, slots=True)
class CallFault:
    """The next ``count`` calls of ``method`` wait ``latency`` seconds, then fail with ``code`` if there is one."""

    method: str = ANY_METHOD
    code: StatusCode | None = None
    count: int = 1
    latency: float = 0.0


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The next ``count`` messages of a subscription (full name) are delivered twice."""

    subscription: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Reorder:
    """The next ``count`` batches of a subscription (full name) are delivered in random order."""

    subscription: str
    count: int = 1


Fault = CallFault | Duplicate | Reorder


class Faults:
    """The faults that are still to happen."""

    def __init__(self) -> None:
        """None."""
        self._calls: list[tuple[CallFault, list[int]]] = []
        self._deliveries: dict[tuple[type[Fault], str], int] = {}
        self._chance = random.Random(0)  # noqa: S311  the same disorder in every run

    @property
    def armed(self) -> bool:
        """Whether any is left; asked on every call and delivery."""
        return bool(self._calls or self._deliveries)

    def inject(self, fault: Fault) -> None:
        """Plan it."""
        if isinstance(fault, CallFault):
            self._calls.append((fault, [fault.count]))
        else:
            key = (type(fault), fault.subscription)
            self._deliveries[key] = self._deliveries.get(key, 0) + fault.count

    def clear(self) -> None:
        """Forget all."""
        self._calls.clear()
        self._deliveries.clear()

    async def strike(self, method: str) -> None:
        """Delay or fail one call of a method (``Publish``, ``Pull``, ...)."""
        for planned in self._calls:
            fault, left = planned
            if fault.method not in {method, ANY_METHOD}:
                continue
            left[0] -= 1
            if left[0] <= 0:
                self._calls.remove(planned)
            await asyncio.sleep(fault.latency)
            if fault.code is not None:
                raise Refusal(fault.code, f"injected fault: {fault.code.name}")
            return

    def duplicates(self, subscription: str) -> bool:
        """Whether the next message is delivered twice."""
        return self._use((Duplicate, subscription))

    def shuffle(self, subscription: str, batch: list[object]) -> None:
        """Disorder a batch if that is planned."""
        if len(batch) > 1 and self._use((Reorder, subscription)):
            self._chance.shuffle(batch)

    def _use(self, key: tuple[type[Fault], str]) -> bool:
        left = self._deliveries.get(key, 0)
        if left <= 0:
            return False
        if left == 1:
            del self._deliveries[key]
        else:
            self._deliveries[key] = left - 1
        return True
