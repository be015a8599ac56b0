"""What a person sees when the stack is ready."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import IO, Final

from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from emulator.stack import LocalStack

_WIDEST: Final = 1000


def ready_table(stack: LocalStack, seconds: float) -> Group:
    """URLs, docs and logs of everything that runs, after so many seconds of start-up."""
    functions = Table("function", "url", "docs", "log", title=f"{stack.project} is ready in {seconds:.1f} s")
    for name, one in stack.functions.items():
        functions.add_row(name, one.url, one.docs, _short(Path(one.log)))
    services = Table("service", "address", box=None, show_header=False)
    for name, address in _services(stack).items():
        services.add_row(name, address)
    return Group(functions, services, Text("Ctrl-C stops everything.", style="dim"))


def show(stream: IO[str], stack: LocalStack, seconds: float) -> None:
    """Print the table as wide as it wants: a URL or path that is cut cannot be copied."""
    table = ready_table(stack, seconds)
    console = Console(file=stream, width=_WIDEST)
    wanted = Measurement.get(console, console.options, table).maximum
    Console(file=stream, width=max(wanted, shutil.get_terminal_size().columns)).print(table)


def _services(stack: LocalStack) -> dict[str, str]:
    counts = {"deliveries": stack.stats_url} if stack.stats_url else {}
    return {
        "console": stack.console_url,
        "Firestore": stack.firestore,
        "Pub/Sub": stack.pubsub,
        "OIDC issuer": stack.issuer.url,
        **counts,
        "acting as": stack.developer,
        "logs": _short(stack.logs),
    }


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
