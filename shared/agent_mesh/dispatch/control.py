"""What people do to tasks and agents: cancel, replay, pause, resume, and send dead letters again."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agent_mesh.agents.control import AgentControl, AgentControls
from agent_mesh.agents.records import Outcome
from agent_mesh.agents.runs import RunStore
from agent_mesh.contracts.problems import AgentUnknown, Conflict, NotFound
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import AgentState, DeadReplay, DispatchRequest, Mode, ReplayRequest, TaskStatus
from agent_mesh.contracts.values import LATEST_UNIX_SECONDS
from agent_mesh.deadletters.arrival import read_dead_letter
from agent_mesh.deadletters.store import DeadLetters, DeadRecord
from agent_mesh.dispatch.dispatcher import Dispatched, Dispatcher
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.results import Results
from agent_mesh.dispatch.settlement import Arrival
from agent_mesh.dispatch.store import TaskStore
from agent_mesh.platform.clock import Clock, rfc3339
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.firestore import until_settled
from agent_mesh.platform.logs import join_trace
from agent_mesh.platform.pubsub import Message, Publisher
from agent_mesh.platform.settings import Settings


@dataclass(frozen=True)
class ControlParts:
    """What the controls are wired to."""

    tasks: TaskStore
    runs: RunStore
    controls: AgentControls
    results: Results
    dispatcher: Dispatcher
    dead_letters: DeadLetters
    publisher: Publisher
    clock: Clock


class TaskControl:
    """The operations of people."""

    def __init__(self, settings: Settings, parts: ControlParts) -> None:
        """Know the agents and topics from `settings`."""
        self._settings = settings
        self._parts = parts

    def cancel(self, task: TaskRecord, by: str) -> TaskRecord:
        """Make sure that a task never starts; ask its handler to stop if it has started.

        Raises `Conflict` if it ended in another way first.
        """
        if task.status is TaskStatus.CANCELLED:
            self._parts.results.tell(task)  # whoever cancelled it first may have died before the event was out
            return task
        if task.status.terminal:
            raise Conflict(f"The task is {task.status.value}; what has ended does not change.")
        outcome = Outcome.refused(RunStatus.CANCELLED, "cancelled", f"Cancelled by {by}.")
        run = self._parts.runs.fence(task.run, outcome)
        crash_point("cancel.fenced")
        if run.outcome is None:
            self._parts.runs.request_cancel(task.task_id)
            return self._note_request(task.task_id)
        applied = self._parts.results.arrive(
            task.task_id, Arrival(run.outcome, max(run.attempt, task.attempt)), known=task
        )
        ended = applied.task if applied else task
        if ended.status is not TaskStatus.CANCELLED:
            raise Conflict(f"The task had ended before: it is {ended.status.value}.")
        return ended

    def _note_request(self, task_id: str) -> TaskRecord:
        def once() -> TaskRecord:
            task = self._parts.tasks.get(task_id)
            if task is None:
                raise NotFound(f"There is no task {task_id}.")
            return task if task.status.terminal else self._parts.tasks.change(task, cancel_requested=True)

        return until_settled(once)

    def replay(self, task: TaskRecord, wanted: ReplayRequest, caller: str) -> Dispatched:
        """Dispatch an ended task once more, as a new one. Raises `Conflict` if it has not ended."""
        if not task.status.terminal:
            raise Conflict(f"The task is still {task.status.value}; cancel it or let it end before a replay.")
        now = self._parts.clock.now()
        lifetime = max(1.0, task.ttl - task.created_at.timestamp())
        request = DispatchRequest(
            agent=task.agent,
            payload=json.loads(task.payload_json),
            ttl=wanted.ttl if wanted.ttl is not None else min(now + lifetime, LATEST_UNIX_SECONDS),
            budget_cents=task.budget_cents if wanted.budget_cents is None else wanted.budget_cents,
            idempotency_key=wanted.idempotency_key,
            mode=wanted.mode or Mode.PUBSUB,
            callback_url=task.callback_url,
            trace_id=task.trace_id,
        )
        return self._parts.dispatcher.dispatch(request, caller, replay_of=task.task_id)

    def pause(self, agent: str, by: str) -> AgentState:
        """Let an agent take no more work. What runs, runs on; what comes, waits until `resume` or its ttl."""
        self._check(agent)
        return _state(agent, self._parts.controls.pause(agent, by))

    def resume(self, agent: str, by: str) -> AgentState:
        """Let an agent take work again. The caller then sends on what waited."""
        self._check(agent)
        return _state(agent, self._parts.controls.resume(agent, by))

    def bury(self, envelope: PushEnvelope) -> None:
        """Take a dead letter: end its task for good, or keep the message where there is no task."""
        join_trace(envelope.message.attributes.get)
        letter = read_dead_letter(envelope, self._parts.clock.now(), self._settings.name_prefix)
        task = self._parts.tasks.get(letter.task_id) if letter.task_id and letter.topic == "tasks" else None
        if task is None:
            self._parts.dead_letters.keep_message(letter)
            return
        run = self._parts.runs.get(task.task_id)
        fault = run.last_fault if run else None
        reason = fault.code if fault else letter.reason
        detail = f"{letter.detail} Last fault: {fault.detail}" if fault else letter.detail
        run = self._parts.runs.fence(task.run, Outcome.refused(RunStatus.DEAD, reason, detail))
        if run.outcome is None:  # it runs after all; its own end or the sweep decides
            return
        arrival = Arrival(run.outcome, max(run.attempt, task.attempt))
        applied = self._parts.results.arrive(task.task_id, arrival, known=task)
        if applied and applied.ignored:  # an earlier delivery may have died before the event was out
            self._parts.results.tell_now(applied.task)
        if run.outcome.status is RunStatus.DEAD:
            error = run.outcome.error
            self._parts.dead_letters.keep_task(
                task, error.code if error else reason, error.detail if error else detail, letter.attempts
            )

    def replay_dead(self, letter: DeadRecord, caller: str) -> DeadReplay:
        """Send a dead letter again: its task as a new task, a message without one as it was."""
        if letter.task_id and letter.topic == "tasks" and (task := self._parts.tasks.get(letter.task_id)):
            dispatched = self.replay(task, ReplayRequest(), caller)
            self._parts.dead_letters.replayed(letter.dead_id, dispatched.task.task_id)
            return DeadReplay(dead_id=letter.dead_id, task=dispatched.task.view())
        if not letter.data:
            raise Conflict("This dead letter was too large to keep; only its size is known.")
        topic = self._topic_of(letter)
        (message_id,) = self._parts.publisher.publish(topic, [Message(letter.data, letter.attributes or {})])
        self._parts.dead_letters.replayed(letter.dead_id, message_id)
        return DeadReplay(dead_id=letter.dead_id, message_id=message_id)

    def _topic_of(self, letter: DeadRecord) -> str:
        settings = self._settings
        topics = {
            "results": settings.results_topic,
            "events": settings.topic(settings.events_topic_id),
            "relay": settings.relay_topic,
        }
        return topics.get(letter.topic, settings.tasks_topic)

    def _check(self, agent: str) -> None:
        if self._settings.agent(agent) is None:
            known = ", ".join(sorted(self._settings.agents)) or "none"
            raise AgentUnknown(f"No agent is called {agent}; known are: {known}.")


def _state(agent: str, control: AgentControl) -> AgentState:
    since = rfc3339(control.since) if control.since else None
    return AgentState(agent=agent, paused=control.paused, since=since, by=control.by)
