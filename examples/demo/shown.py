"""Where everything is printed."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

_WIDTH_OF_A_PIPE: Final = 120

console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE)
