"""The local stack that the demo runs on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import AlreadyRunningError
from emulator.stack import LocalStack, StackOptions
from examples.demo.documents import ROOT
from examples.demo.shown import console


@dataclass(frozen=True)
class RunningMesh:
    """Where the demo's stack is described, and where people can watch it."""

    stack_file: Path
    dashboard: str


@contextmanager
def running_stack() -> Iterator[RunningMesh]:
    """Run the local stack; beside another one that runs here already it gets a folder of its own."""
    console.print("Starting the local stack ...", style="dim")
    began = time.monotonic()
    state = ROOT / ".mesh"
    with ExitStack() as cleanup:
        try:
            stack = cleanup.enter_context(LocalStack(StackOptions(state_dir=state)))
        except AlreadyRunningError:
            state /= "demo"
            stack = cleanup.enter_context(LocalStack(StackOptions(state_dir=state)))
        console.print(f"It is ready after {time.monotonic() - began:.1f} s: {', '.join(stack.functions)}.", style="dim")
        mesh = RunningMesh(state / "stack.json", stack.url("dashboard"))
        console.print(f"Watch it live at {mesh.dashboard}\n")
        yield mesh
    console.print("The local stack has stopped.", style="dim")
