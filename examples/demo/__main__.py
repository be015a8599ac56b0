"""Work through the documents and the proofs. The exit code is 0 only when all of it is as promised."""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from agent_mesh.client import MeshClient, MeshClientError
from emulator.errors import EmulatorError
from examples.demo.documents import Document, markdown_files, read_document
from examples.demo.proofs import prove_all
from examples.demo.report import result_table, totals
from examples.demo.shown import console
from examples.demo.stack import running_stack
from examples.demo.work import wake, work


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
        with running_stack() as stack_file:
            return present(documents, stack_file)
    except (EmulatorError, MeshClientError) as error:
        console.print(Text.assemble(("The demo failed: ", "bold red"), str(error)))
        return 1


def present(documents: Sequence[Document], stack_file: Path) -> int:
    """Work through the documents and the proofs, and say how it went."""
    run_key = uuid.uuid4().hex[:12]
    with MeshClient.from_stack(stack_file) as mesh:
        wake(mesh)
        started = time.monotonic()
        outcomes = work(mesh, documents, run_key)
        console.print(result_table(outcomes))
        seconds = time.monotonic() - started
        proofs_hold = prove_all(mesh, stack_file, documents[0], run_key)
    console.print(totals(outcomes, seconds))
    return 0 if proofs_hold and all(outcome.fine for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
