"""Work through the documents and the proofs. The exit code is 0 only when all of it is as promised."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from agent_mesh.client import MeshClient, MeshClientError
from emulator.errors import EmulatorError
from examples.demo.documents import Document, markdown_files, read_document
from examples.demo.intents import decide_and_prove
from examples.demo.proofs import ProofFailedError, prove_all
from examples.demo.report import result_table, totals
from examples.demo.shown import console
from examples.demo.stack import RunningMesh, running_stack
from examples.demo.work import succeeded, wake, work


def main() -> int:
    parser = argparse.ArgumentParser(description="Agent Mesh at work on real documents.")
    parser.add_argument("files", nargs="*", type=Path, help="documents; default: this repository's Markdown files")
    try:
        documents = [read_document(path) for path in parser.parse_args().files or markdown_files()]
    except OSError as error:
        parser.error(f"cannot read {error.filename}: {error.strerror}")
    if not documents:
        parser.error("there is no Markdown file here; name the files to digest")
    try:
        with running_stack() as mesh:
            fine = present(documents, mesh.stack_file)
            stay(mesh)
            return 0 if fine else 1
    except (EmulatorError, MeshClientError, ProofFailedError) as error:
        console.print(Text.assemble(("The demo failed: ", "bold red"), str(error)))
        return 1


def present(documents: Sequence[Document], stack_file: Path) -> bool:
    """Work through the documents, the intents and the proofs, say how it went, and return whether all is well."""
    run_key = uuid.uuid4().hex[:12]
    with MeshClient.from_stack(stack_file) as mesh:
        wake(mesh)
        started = time.monotonic()
        outcomes = work(mesh, documents, run_key)
        console.print(result_table(outcomes))
        seconds = time.monotonic() - started
        proofs_hold = prove_all(mesh, stack_file, documents[0], run_key)
    console.print()
    echoed = next((outcome.echo.task_id for outcome in outcomes if succeeded(outcome.echo) and outcome.echo), "")
    proofs_hold &= decide_and_prove(stack_file, echoed, run_key)
    console.print(totals(outcomes, seconds))
    return proofs_hold and all(outcome.fine for outcome in outcomes)


def stay(mesh: RunningMesh) -> None:
    """Leave the mesh running for somebody at a terminal, until they have seen enough."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    console.print(f"\nThe mesh runs on, and all of it is at {mesh.dashboard}; [bold]Enter[/bold] stops it.")
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        input()


if __name__ == "__main__":
    sys.exit(main())
