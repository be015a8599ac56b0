"""Kills the process groups of a stack that died without cleaning up, even by SIGKILL.

This file runs as a process of its own, with nothing but the standard library. The stack holds
the other end of its standard input and writes ``+PGID`` and ``-PGID`` lines; when that end
closes, for whatever reason, every group that is still listed is killed. A parent-death signal
(``PR_SET_PDEATHSIG``) would not do: it fires when the *thread* that started a child ends, and
grandchildren do not inherit it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable


def left_behind(lines: Iterable[str]) -> list[int]:
    """The groups that were added and not removed when the lines end."""
    groups: dict[int, None] = {}
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if sign == "+":
            groups[int(number)] = None
        elif sign == "-":
            groups.pop(int(number), None)
    return list(groups)


def kill_group(group: int) -> None:
    """Send SIGKILL to a process group that may be gone already."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # gone, or a zombie that its parent has not collected yet (macOS answers EPERM)


if __name__ == "__main__":
    for stray in left_behind(sys.stdin):
        kill_group(stray)
