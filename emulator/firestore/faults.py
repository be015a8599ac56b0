"""Faults on demand: the next calls of a method fail or are late."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from grpc import StatusCode

from emulator.refusals import Refusal

CODES: Final = {code.name: code for code in StatusCode if code is not StatusCode.OK}


@dataclass(slots=True)
class Fault:
    """What happens to the next ``count`` calls of a method (``*``: any), after ``skip`` that go well.

    ``code`` names a gRPC status; without one the calls are only ``delay`` seconds late. ``after`` lets the call do its
    work first, and loses only the answer.
    """

    method: str = "*"
    code: str = ""
    count: int = 1
    skip: int = 0
    delay: float = 0.0
    after: bool = False

    def __post_init__(self) -> None:
        """Refuse a code that does not exist, at the place that made it up."""
        if self.code and self.code not in CODES:
            raise ValueError(f"there is no gRPC status {self.code!r}; there is {', '.join(CODES)}")


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        """None yet."""
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let it happen, after those added before."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Take back what has not happened."""
        self._faults.clear()

    def take(self, method: str) -> Fault | None:
        """The fault of this call, if it has one."""
        for fault in self._faults:
            if fault.method not in {"*", method}:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.count -= 1
            if fault.count <= 0:
                self._faults.remove(fault)
            return fault
        return None


async def suffer(fault: Fault | None, *, before: bool) -> None:
    """Be late, or raise Refusal, if it is the moment."""
    if fault is None:
        return
    if before and fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.code and before is not fault.after:
        raise Refusal(CODES[fault.code], f"injected fault: {fault.code}")
