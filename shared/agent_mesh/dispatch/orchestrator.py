"""The orchestrator: everything that dispatch is made of, wired once per process."""

from __future__ import annotations

from collections.abc import Sequence

from agent_mesh.agents.control import AgentControls
from agent_mesh.agents.runs import RunStore
from agent_mesh.budgets import Budgets
from agent_mesh.contracts.problems import NotFound
from agent_mesh.contracts.tasks import Task
from agent_mesh.deadletters.store import DeadLetters
from agent_mesh.dispatch.batch import BatchDispatcher
from agent_mesh.dispatch.control import ControlParts, TaskControl
from agent_mesh.dispatch.dispatcher import Dispatcher, Parts
from agent_mesh.dispatch.http_runner import HttpRunner
from agent_mesh.dispatch.publishing import TaskPublisher
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.results import Results
from agent_mesh.dispatch.store import TaskStore
from agent_mesh.dispatch.sweep import Sweep, SweepParts
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.id_tokens import IdTokenSource
from agent_mesh.policy.active import ActivePolicy
from agent_mesh.webhooks import Callbacks


class Orchestrator:
    """The capability's public face: what its routes, and later other roles, call."""

    def __init__(self, parts: FunctionParts) -> None:
        """Wire from `parts`; nothing connects yet."""
        settings, database, clock = parts.settings, parts.database, parts.clock
        budgets = Budgets(database, settings.agent_budget_cents)
        callbacks = Callbacks(settings.webhook_secrets, settings.callback_allowed_hosts, clock)
        publisher = TaskPublisher(parts.publisher, settings.tasks_topic)
        runner = HttpRunner(IdTokenSource(), settings.http_wait_seconds)
        self._parts = parts
        self._operators = frozenset(settings.operators)
        self.tasks = TaskStore(database, budgets, clock)
        self.runs = RunStore(database, budgets, clock, settings.lease_seconds, settings.retention_days)
        self.controls = AgentControls(database, clock, settings.control_staleness_seconds)
        self.dead_letters = DeadLetters(database, clock, settings.retention_days)
        self.results = Results(self.tasks, callbacks, parts.events, clock)
        self.dispatcher = Dispatcher(
            settings,
            Parts(
                self.tasks,
                self.runs,
                self.controls,
                self.results,
                publisher,
                runner,
                callbacks,
                ActivePolicy.of(parts),
                clock,
            ),
        )
        self.batch = BatchDispatcher(self.dispatcher)
        self.control = TaskControl(
            settings,
            ControlParts(
                self.tasks,
                self.runs,
                self.controls,
                self.results,
                self.dispatcher,
                self.dead_letters,
                parts.publisher,
                clock,
            ),
        )
        self._sweep_parts = SweepParts(
            self.tasks, self.runs, budgets, self.controls, self.results, publisher, self.dead_letters, clock
        )

    def sweep(self) -> Sweep:
        """Return a sweep; each is run once."""
        return Sweep(self._parts.settings, self._sweep_parts)

    def now(self) -> float:
        """Return Unix seconds."""
        return self._parts.clock.now()

    def is_operator(self, email: str) -> bool:
        """Return whether somebody may see every caller's tasks."""
        return email in self._operators

    def visible(self, task_id: str, email: str) -> TaskRecord:
        """Return a task that the caller may see; raise `NotFound` for another's as for one that is not there."""
        task = self.tasks.get(task_id)
        if task is None or not (task.caller == email or self.is_operator(email)):
            raise NotFound(f"There is no task {task_id}.")
        return task

    def view(self, task: TaskRecord) -> Task:
        """Return a task as its caller sees it, with how far its run is."""
        return self.views([task])[0]

    def views(self, tasks: Sequence[TaskRecord]) -> list[Task]:
        """Return tasks as their callers see them; runs are read for those that have not ended, in one call."""
        runs = self.runs.get_many([task.task_id for task in tasks if not task.status.terminal])
        return [task.view(runs.get(task.task_id), self.now()) for task in tasks]
