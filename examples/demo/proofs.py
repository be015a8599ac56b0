"""What must not work, tried."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from agent_mesh.client import MeshClient, MeshClientError, ProblemError
from agent_mesh.contracts.problems import Problem
from agent_mesh.contracts.tasks import Task, TaskStatus
from examples.demo.documents import Document
from examples.demo.shown import console
from examples.demo.work import LIFE_S, LIGHT_PRICE_CENTS, digest_request

STRANGER: Final = "stranger@example.com"
PROOF_WIDTH: Final = 21


class ProofFailedError(Exception):
    """The mesh did not do what it promises."""


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
