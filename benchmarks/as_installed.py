"""The environment in which the benchmarks of the emulators start a server: as one that was installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
STARTS: Final = 5
"""How often each server is started: their median counts, after one start that fills the caches of both."""


def environment(bytecode: Path) -> dict[str, str]:
    """Ours, but with Python's bytecode kept in a folder: an installed package is not compiled at each start."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(bytecode)}
