"""The local stack that the demo runs on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from emulator.errors import AlreadyRunningError
from emulator.stack import LocalStack, StackOptions
from examples.demo.documents import ROOT
from examples.demo.shown import console

ROLES: Final = ("orchestrator", "agent_light", "digest")


@contextmanager
def running_stack() -> Iterator[Path]:
    """Run the local stack; beside another one that runs here already it gets a folder of its own."""
    console.print("Starting the local stack ...", style="dim")
    began = time.monotonic()
    state = ROOT / ".mesh"
    with ExitStack() as cleanup:
        try:
            stack = cleanup.enter_context(LocalStack(StackOptions(state_dir=state, only=ROLES)))
        except AlreadyRunningError:
            state /= "demo"
            stack = cleanup.enter_context(LocalStack(StackOptions(state_dir=state, only=ROLES)))
        console.print(f"It is ready after {time.monotonic() - began:.1f} s: {', '.join(stack.functions)}.", style="dim")
        yield state / "stack.json"
    console.print("The local stack has stopped.", style="dim")
