"""Everything that the mesh knows of one transaction or task: entries of the ledger with receipts, the task, the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from agent_mesh.agents.control import AgentControls
from agent_mesh.agents.records import RunRecord
from agent_mesh.agents.runs import RunStore
from agent_mesh.budgets import Budgets
from agent_mesh.contracts.problems import NotFound
from agent_mesh.contracts.tasks import DeadLetter, Explanation, Task, TaskFault, TimelineEntry
from agent_mesh.contracts.values import TaskId, Tolerant
from agent_mesh.deadletters.store import DeadFilter, DeadLetters
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.store import TaskStore
from agent_mesh.dispatch.story import explain, timeline
from agent_mesh.ledger.reader import LedgerReader, LedgerRecord
from agent_mesh.ledger.receipts import Receipt
from agent_mesh.platform.clock import Clock, rfc3339
from agent_mesh.platform.function_parts import FunctionParts

RECORDS_AT_ONCE: Final = 50
"""Entries of one answer: each may have a payload of 256 KiB beside it, and Cloud Run's answers have a limit."""

_TASK_ID: Final = TypeAdapter(TaskId)


class StoryRecord(BaseModel):
    """One entry of the ledger, and the proof that it is there."""

    index: int = Field(description="Place in the ledger; the first is 0.")
    id: str = Field(description="Id of the event that it tells of.")
    event: str = Field(description="Kind of event.")
    actor: str = Field(description="Who did it.")
    ts: str = Field(description="RFC 3339, UTC: when it arrived at the ledger.")
    payload: JsonValue | None = Field(description="Null where the entry has only its digest and it is not kept.")
    entry: str = Field(description="Canonical JSON whose UTF-8 bytes the tree hashes.")
    receipt: Receipt | None = Field(description="Proves it without asking anybody.")


class RunView(Tolerant):
    """A run, as its agent has claimed it."""

    run_id: str = Field(description="The task's id, or the run's own.")
    agent: str = Field(description="Name of the agent.")
    caller: str = Field(description="Who called the agent directly; empty for a task.")
    state: str = Field(description="`running`, `waiting`, `parked` or `finished`.")
    attempt: int = Field(description="Number of the attempt, from 1.")
    started_at: str | None = Field(description="RFC 3339, UTC.")
    finished_at: str | None = Field(description="RFC 3339, UTC.")
    lease_until: str | None = Field(description="When it counts as crashed without a sign of life: RFC 3339, UTC.")
    cancel_requested: bool = Field(description="Whether its handler was asked to stop.")
    status: str | None = Field(description="How it ended.")
    cost_cents: int | None = Field(description="What it cost, in cents.")
    error: TaskFault | None = Field(description="Why it failed.")
    last_fault: TaskFault | None = Field(description="Why its last attempt failed.")


class Story(BaseModel):
    """`GET /api/tx/{id}`. Task, run and dead letter are as their own roles show them, in camelCase."""

    tx_id: str = Field(description="The id that was asked for: of a transaction, a task or a run.")
    records: list[StoryRecord] = Field(description="Its entries in the ledger, in their order.")
    next_index: int | None = Field(description="`from_index` of the next page of records, if there is one.")
    task: Task | None = Field(description="The task with this id.")
    timeline: list[TimelineEntry] | None = Field(description="What happened to the task, oldest first.")
    why: Explanation | None = Field(description="Why the task is where it is, and what comes next.")
    run: RunView | None = Field(description="The run with this id.")
    dead: DeadLetter | None = Field(description="The task's newest dead letter.")


class Work:
    """Tasks, runs and dead letters, by any id: most transactions have none."""

    def __init__(self, parts: FunctionParts) -> None:
        """Read from the mesh's database; nothing connects yet."""
        settings, database, clock = parts.settings, parts.database, parts.clock
        budgets = Budgets(database, settings.agent_budget_cents)
        self._tasks = TaskStore(database, budgets, clock)
        self._runs = RunStore(database, budgets, clock, settings.lease_seconds, settings.retention_days)
        self._controls = AgentControls(database, clock, settings.control_staleness_seconds)
        self._dead_letters = DeadLetters(database, clock, settings.retention_days)

    def task(self, any_id: str) -> TaskRecord | None:
        """Return the task with this id, None if there is none."""
        return self._tasks.get(any_id) if _may_name_a_task(any_id) else None

    def run(self, any_id: str) -> RunRecord | None:
        """Return the run with this id, None if there is none."""
        return self._runs.get(any_id) if _may_name_a_task(any_id) else None

    def dead(self, any_id: str) -> DeadLetter | None:
        """Return the newest dead letter of the task with this id, None if there is none."""
        found = self._dead_letters.page(DeadFilter(task_id=any_id), 1) if _may_name_a_task(any_id) else []
        return found[0].view() if found else None

    def is_paused(self, agent: str) -> bool:
        """Return whether an agent gets no more work."""
        return self._controls.state(agent).paused


class Stories:
    """Tells the stories of one mesh."""

    def __init__(self, ledger: LedgerReader, work: Work, clock: Clock) -> None:
        """Read from these; nothing connects yet."""
        self._ledger = ledger
        self._work = work
        self._clock = clock

    def tell(self, tx_id: str, from_index: int = 0) -> Story:
        """Return a story, with the records from `from_index` on.

        Raises:
            NotFound: nobody knows the id.
        """
        page = self._ledger.records_of(tx_id, from_index=from_index, limit=RECORDS_AT_ONCE)
        task, run, dead = self._work.task(tx_id), self._work.run(tx_id), self._work.dead(tx_id)
        if not page.records and not from_index and task is None and run is None and dead is None:
            raise NotFound(f"There is no transaction or task {tx_id}.")
        now = self._clock.now()
        return Story(
            tx_id=tx_id,
            records=self._records(page.records),
            next_index=page.next_index,
            task=task.view(run, now) if task else None,
            timeline=timeline(task, run, now).events if task else None,
            why=self._why(task, run, now) if task else None,
            run=_run(run) if run else None,
            dead=dead,
        )

    def _why(self, task: TaskRecord, run: RunRecord | None, now: float) -> Explanation:
        return explain(task, run, now, paused=self._work.is_paused(task.agent))

    def _records(self, records: Sequence[LedgerRecord]) -> list[StoryRecord]:
        return [_record(*each) for each in zip(records, self._ledger.receipts(records), strict=True)]


def _may_name_a_task(any_id: str) -> bool:
    try:
        _TASK_ID.validate_python(any_id)
    except ValidationError:
        return False
    return True


def _record(record: LedgerRecord, receipt: Receipt) -> StoryRecord:
    entry = record.entry
    payload: JsonValue = entry.payload
    if payload is None and receipt.payload is not None:
        payload = json.loads(receipt.payload)
    return StoryRecord(
        index=record.index,
        id=entry.id,
        event=entry.event,
        actor=entry.actor,
        ts=entry.ts,
        payload=payload,
        entry=record.text,
        receipt=receipt,
    )


def _run(run: RunRecord) -> RunView:
    outcome = run.outcome
    return RunView(
        run_id=run.run_id,
        agent=run.agent,
        caller=run.caller,
        state=run.state.value,
        attempt=run.attempt,
        started_at=rfc3339(run.started_at) if run.started_at else None,
        finished_at=rfc3339(run.finished_at) if run.finished_at else None,
        lease_until=rfc3339(run.lease_until) if run.lease_until else None,
        cancel_requested=run.cancel_requested,
        status=outcome.status.value if outcome else None,
        cost_cents=outcome.cost_cents if outcome else None,
        error=outcome.error if outcome else None,
        last_fault=run.last_fault,
    )
