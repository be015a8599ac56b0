"""The mesh at work on real documents.

`python examples/demo.py [FILES...]`; without files it takes every Markdown file of this repository.

It starts the local stack, sends every document to agent `digest` over Pub/Sub and to agent `light` over HTTP, prints
what came back, what it cost and how long it took. It proves that a duplicate does not run twice and that a task that is
too dear, one that is too late and one of a stranger are refused.

The exit code is 0 only when every document was digested and every proof held.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "shared")]  # so that it runs from a clone, without installing anything

from rich import box  # noqa: E402  # the same for this and all below
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402
from rich.table import Table  # noqa: E402
from rich.text import Text  # noqa: E402

from agent_mesh.client import MeshClient, MeshClientError, ProblemError, batches, dispatch_request  # noqa: E402
from agent_mesh.contracts.problems import Problem  # noqa: E402
from agent_mesh.contracts.tasks import DispatchRequest, Task, TaskStatus  # noqa: E402
from agent_mesh.contracts.values import PAYLOAD_LIMIT_BYTES, to_json  # noqa: E402
from emulator.errors import AlreadyRunningError, EmulatorError  # noqa: E402
from emulator.stack import LocalStack, StackOptions  # noqa: E402

TEXT_LIMIT_BYTES: Final = 200_000
NAME_LIMIT: Final = 255
DIGEST_BUDGET_CENTS: Final = 2
LIGHT_PRICE_CENTS: Final = 5
LIFE_S: Final = 120.0
CALLERS: Final = 8
ROLES: Final = ("orchestrator", "agent_light", "digest")
PROOF_WIDTH: Final = 21
STRANGER: Final = "stranger@example.com"
SHOWN_TERMS: Final = 3
NARROWEST_NAME: Final = 20
WIDTH_OF_A_PIPE: Final = 120

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE)


@dataclass(frozen=True)
class Document:
    """A file as the agents get it."""

    name: str
    text: str

    @property
    def payload(self) -> dict[str, Any]:
        return {"text": self.text, "name": self.name}


@dataclass
class Outcome:
    """What became of one document."""

    document: Document
    digest: Task | None = None
    echo: Task | None = None
    refusals: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Digested and echoed; a text without prose is rightly dead."""
        return not self.refusals and _succeeded(self.echo) and (_succeeded(self.digest) or self.without_prose)

    @property
    def without_prose(self) -> bool:
        return self.digest is not None and self.digest.error is not None and self.digest.error.code == "empty_text"


class ProofFailedError(Exception):
    """The mesh did not do what it promises."""


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


# Documents


def markdown_files() -> list[Path]:
    """Return the repository's Markdown files: those git knows or would add, else all outside hidden folders."""
    command = ("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md")
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout  # noqa: S603  # fixed words
    except (OSError, subprocess.CalledProcessError):
        found = [
            path for path in ROOT.rglob("*.md") if not re.search(r"/\.|/node_modules/", f"/{path.relative_to(ROOT)}")
        ]
    else:
        found = [ROOT / name for name in listed.split("\0") if name]
    return sorted(path for path in found if path.is_file())


def read_document(path: Path) -> Document:
    """Read a file as text, at most 200 KB of it, and less where JSON's escapes would make it too large to send."""
    resolved = path.resolve()
    name = str(resolved.relative_to(ROOT) if resolved.is_relative_to(ROOT) else path)[-NAME_LIMIT:]
    text = resolved.read_bytes()[:TEXT_LIMIT_BYTES].decode(errors="replace")
    while len(to_json(Document(name, text).payload).encode()) > PAYLOAD_LIMIT_BYTES:
        text = text[: len(text) * 3 // 4]
    return Document(name, text)


# The stack


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


# Work


def wake(mesh: MeshClient) -> None:
    """Let every function have its cold start, which would else be the latency of the first documents."""
    request = dispatch_request("digest", {"text": "Wake up."}, budget_cents=DIGEST_BUDGET_CENTS, mode="pubsub")
    [answer] = mesh.dispatch_batch([request]).results
    mesh.dispatch("light", {}, budget_cents=LIGHT_PRICE_CENTS)
    if answer.task is not None:
        mesh.wait(answer.task.task_id, LIFE_S)


def work(mesh: MeshClient, documents: Sequence[Document], run_key: str) -> list[Outcome]:
    """Send every document to both agents and wait for all of them."""
    outcomes = [Outcome(document) for document in documents]
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars, ThreadPoolExecutor(CALLERS) as callers:
        digested = bars.add_task("digest over Pub/Sub", total=len(outcomes))
        echoed = bars.add_task("light over HTTP", total=len(outcomes))
        dispatch_digests(mesh, outcomes, run_key)
        jobs = [callers.submit(follow_digest, mesh, outcome, lambda: bars.advance(digested)) for outcome in outcomes]
        jobs += [callers.submit(echo, mesh, outcome, lambda: bars.advance(echoed)) for outcome in outcomes]
        for job in jobs:
            job.result()
    return outcomes


def dispatch_digests(mesh: MeshClient, outcomes: Sequence[Outcome], run_key: str) -> None:
    """Dispatch all documents to `digest` in batches; each is accepted or refused by itself."""
    waiting = iter(outcomes)
    for batch in batches(digest_request(outcome.document, run_key, n) for n, outcome in enumerate(outcomes)):
        for answer, outcome in zip(mesh.dispatch_batch(batch).results, waiting, strict=False):
            outcome.digest = answer.task
            if answer.problem is not None:
                outcome.refusals.append(f"digest: {answer.problem.code}")


def digest_request(document: Document, run_key: str, number: int) -> DispatchRequest:
    return dispatch_request(
        "digest",
        document.payload,
        budget_cents=DIGEST_BUDGET_CENTS,
        ttl_s=LIFE_S,
        mode="pubsub",
        idempotency_key=f"demo-{run_key}-{number}",
    )


def follow_digest(mesh: MeshClient, outcome: Outcome, done: Callable[[], None]) -> None:
    if outcome.digest is not None:
        outcome.digest = mesh.wait(outcome.digest.task_id, LIFE_S)
    done()


def echo(mesh: MeshClient, outcome: Outcome, done: Callable[[], None]) -> None:
    """Send one document to `light`, which answers in the same request."""
    try:
        outcome.echo = mesh.dispatch(
            "light", outcome.document.payload, budget_cents=LIGHT_PRICE_CENTS, ttl_s=LIFE_S, mode="http"
        )
    except ProblemError as error:
        outcome.refusals.append(f"light: {error.code}")
    done()


# Proofs


def prove_all(mesh: MeshClient, stack_file: Path, document: Document, run_key: str) -> bool:
    """Try what must not work; print each proof and return whether all hold."""
    with MeshClient.from_stack(stack_file, email=STRANGER) as stranger:
        proofs: dict[str, Callable[[], str]] = {
            "a duplicate runs once": lambda: prove_one_run(mesh, document, run_key),
            "too dear is refused": lambda: prove_too_dear(mesh),
            "too late is refused": lambda: prove_too_late(mesh),
            "a stranger is refused": lambda: prove_stranger(stranger),
        }
        held = [prove(name, proof) for name, proof in proofs.items()]
    return all(held)


def prove(name: str, proof: Callable[[], str]) -> bool:
    """Print whether one proof holds, and by what one sees it."""
    try:
        seen = proof()
    except (ProofFailedError, MeshClientError) as error:
        show_proof(Text("✘", "bold red"), name, str(error))
        return False
    show_proof(Text("✔", "green"), name, seen)
    return True


def show_proof(mark: Text, name: str, seen: str) -> None:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(mark, Text(name.ljust(PROOF_WIDTH), "bold"), Text(seen))
    console.print(row)


def prove_one_run(mesh: MeshClient, document: Document, run_key: str) -> str:
    """Dispatch the same task twice, over HTTP and over Pub/Sub: one task, one run, one charge, one answer."""
    key = f"demo-{run_key}-twice"
    first, again = (
        mesh.dispatch("light", {"file": document.name}, budget_cents=LIGHT_PRICE_CENTS, idempotency_key=key)
        for _ in range(2)
    )
    check(again.task_id == first.task_id, f"the duplicate became another task, {again.task_id}")
    check(again.result == first.result, f"the duplicate got another answer: {again.result}")
    check_charged_once(mesh, first, LIGHT_PRICE_CENTS)
    [repeated] = mesh.dispatch_batch([digest_request(document, run_key, 0)]).results
    check(repeated.task is not None, f"the duplicate was refused: {repeated.problem}")
    digested = mesh.wait(repeated.task.task_id if repeated.task else "", LIFE_S)
    check_charged_once(mesh, digested, digested.cost_cents)
    return f"both are one task, started once, {first.cost_cents} ¢ in all"


def check_charged_once(mesh: MeshClient, task: Task, price_cents: int) -> None:
    """Check that all tasks with the key of this one are one task, that it was started once and what it cost."""
    same = [one for one in mesh.iter_tasks(agent=task.agent) if one.idempotency_key == task.idempotency_key]
    check(len(same) == 1, f"the mesh has {len(same)} tasks with the key {task.idempotency_key}")
    charged = sum(one.cost_cents for one in same)
    check(charged == price_cents, f"{charged} ¢ were charged where one run costs {price_cents} ¢")
    starts = [entry for entry in mesh.timeline(task.task_id).events if entry.event == "claimed"]
    check(len(starts) == 1, f"the timeline has {len(starts)} starts")


def prove_too_dear(mesh: MeshClient) -> str:
    problem = refused("budget_exceeded", lambda: mesh.dispatch("light", {}, budget_cents=1))
    task = mesh.task(problem.task_id or "")
    check(task.status is TaskStatus.REJECTED, f"the refused task is {task.status}")
    check(task.cost_cents == 0, f"the refused task cost {task.cost_cents} ¢")
    return f"budget_exceeded: {problem.detail}"


def prove_too_late(mesh: MeshClient) -> str:
    problem = refused("ttl_expired", lambda: mesh.dispatch("light", {}, budget_cents=5, ttl=time.time() - 5))
    return f"ttl_expired: {problem.detail}"


def prove_stranger(stranger: MeshClient) -> str:
    """Dispatch with a valid token of somebody whom the mesh does not know."""
    problem = refused("forbidden", lambda: stranger.dispatch("light", {}, budget_cents=5))
    check(problem.status == 403, f"the status was {problem.status}")  # noqa: PLR2004  # as everybody knows it
    return f"403 forbidden: {problem.detail}"


def refused(code: str, dispatch: Callable[[], Task]) -> Problem:
    """Return the problem of a dispatch that must be refused with this code."""
    try:
        task = dispatch()
    except ProblemError as error:
        check(error.code == code, f"it was refused as {error.code} instead of {code}: {error}")
        return error.problem
    raise ProofFailedError(f"it was accepted as {task.task_id} and is {task.status}")


def check(holds: bool, otherwise: str) -> None:  # noqa: FBT001  # reads as a sentence
    if not holds:
        raise ProofFailedError(otherwise)


# What one sees


def result_table(outcomes: Sequence[Outcome]) -> Table:
    caption = "latency: digest over Pub/Sub / light over HTTP"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, caption=caption)
    for column in ("file", "words", "reading", "key terms", "cost", "latency", "status"):
        number = column in {"words", "reading", "cost", "latency"}
        table.add_column(column, justify="right" if number else "left", no_wrap=column != "key terms", overflow="fold")
    for outcome in outcomes:
        table.add_row(*result_row(outcome))
    return table


def result_row(outcome: Outcome) -> list[str | Text]:
    """Return what `digest` found in one document, what both agents cost and how long each took."""
    result: Any = outcome.digest.result if outcome.digest else None
    terms = ", ".join(term["text"] for term in result["terms"][:SHOWN_TERMS]) if result else ""
    status = "succeeded" if _succeeded(outcome.digest) and _succeeded(outcome.echo) else _trouble(outcome)
    return [
        _shortened(outcome.document.name),
        f"{result['counts']['words']:,}" if result else "-",
        f"{result['readingSeconds'] / 60:.1f} min" if result else "-",
        Text(terms),
        f"{_cost(outcome)} ¢",
        f"{_milliseconds(outcome.digest)} / {_milliseconds(outcome.echo)} ms",
        Text(status, "green" if outcome.fine else "bold red"),
    ]


def totals(outcomes: Sequence[Outcome], seconds: float) -> Text:
    fine = sum(outcome.fine for outcome in outcomes)
    cost = sum(map(_cost, outcomes))
    words = f"\n{fine} of {len(outcomes)} documents, {2 * len(outcomes)} tasks, {cost} ¢, {seconds:.1f} s."
    return Text(words, "bold green" if fine == len(outcomes) else "bold red")


def _trouble(outcome: Outcome) -> str:
    if outcome.without_prose:
        return "dead: no prose in it"
    ends = [task.status for task in (outcome.digest, outcome.echo) if task is not None and not _succeeded(task)]
    return ", ".join([*outcome.refusals, *ends])


def _cost(outcome: Outcome) -> int:
    return sum(task.cost_cents for task in (outcome.digest, outcome.echo) if task is not None)


def _milliseconds(task: Task | None) -> str:
    if task is None or task.finished_at is None:
        return "-"
    took = datetime.fromisoformat(task.finished_at) - datetime.fromisoformat(task.created_at)
    return f"{took.total_seconds() * 1000:.0f}"


def _shortened(name: str) -> str:
    width = max(NARROWEST_NAME, console.width // 4)
    return name if len(name) <= width else "…" + name[1 - width :]


def _succeeded(task: Task | None) -> bool:
    return task is not None and task.status is TaskStatus.SUCCEEDED


if __name__ == "__main__":
    sys.exit(main())
