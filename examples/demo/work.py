"""Every document goes to both agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agent_mesh.client import MeshClient, ProblemError, batches, dispatch_request
from agent_mesh.contracts.tasks import DispatchRequest, Task, TaskStatus
from examples.demo.documents import Document
from examples.demo.shown import console

DIGEST_BUDGET_CENTS: Final = 2
LIGHT_PRICE_CENTS: Final = 5
LIFE_S: Final = 120.0
CALLERS: Final = 8


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
        return not self.refusals and succeeded(self.echo) and (succeeded(self.digest) or self.without_prose)

    @property
    def without_prose(self) -> bool:
        return self.digest is not None and self.digest.error is not None and self.digest.error.code == "empty_text"


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


def succeeded(task: Task | None) -> bool:
    return task is not None and task.status is TaskStatus.SUCCEEDED
