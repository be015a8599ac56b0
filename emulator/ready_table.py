"""What a person sees when the stack is ready."""

from __future__ import annotations

from typing import Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from emulator.stack import LocalStack

_WIDEST: Final = 400


def ready_table(stack: LocalStack, seconds: float) -> Group:
    """URLs, docs and logs of everything that runs, after so many seconds of start-up."""
    functions = Table("function", "url", "docs", "log", title=f"{stack.project} is ready in {seconds:.1f} s")
    for name, one in stack.functions.items():
        functions.add_row(name, one.url, one.docs, one.log)
    services = Table("service", "address", box=None, show_header=False)
    for name, address in _services(stack).items():
        services.add_row(name, address)
    return Group(functions, services, Text("Ctrl-C stops everything.", style="dim"))


def show(console: Console, stack: LocalStack, seconds: float) -> None:
    """Print the table; paths are never cut, so that they can be copied."""
    console.print(ready_table(stack, seconds), width=max(console.width, _WIDEST), crop=False)


def _services(stack: LocalStack) -> dict[str, str]:
    return {
        "Firestore": stack.firestore,
        "Pub/Sub": stack.pubsub,
        "OIDC issuer": stack.issuer.url,
        "bridge counts": stack.stats_url,
        "acting as": stack.developer,
        "logs": str(stack.logs),
    }
