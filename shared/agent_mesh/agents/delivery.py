"""Sends a run's outcome where it belongs: the results topic, a callback, the dead letters."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import JsonValue

from agent_mesh.agents.execution import Ran
from agent_mesh.contracts.runs import RunMessage, RunRequest, RunResult, RunStatus
from agent_mesh.platform.clock import Clock
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.logs import current_trace, log
from agent_mesh.platform.pubsub import Message, Publisher
from agent_mesh.webhooks import Callbacks, DeliveryStatus


@dataclass(frozen=True)
class Topics:
    """Full paths of the topics that an agent publishes on."""

    results: str
    dead_tasks: str


class OutcomeSender:
    """Sends outcomes of one agent's runs."""

    def __init__(
        self, agent: str, publisher: Publisher, topics: Topics, callbacks: Callbacks, events: EventLog, clock: Clock
    ) -> None:
        """Everything that it sends with is passed in."""
        self._agent = agent
        self._publisher = publisher
        self._topics = topics
        self._callbacks = callbacks
        self._events = events
        self._clock = clock

    def publish(self, subject: str, ran: Ran, request: RunRequest | RunMessage) -> None:
        """Publish the result and, if the run is dead, its dead letter.

        Raise `Unavailable` if Pub/Sub does not take them.
        """
        if ran.outcome.status is RunStatus.DEAD:
            self._publisher.publish(self._topics.dead_tasks, [self._dead_letter(subject, ran, request)])
        self._publisher.publish(self._topics.results, [self._result(subject, ran, request)])
        crash_point("agent.result_published")

    def call_back(self, run_id: str, ran: Ran, request: RunRequest | RunMessage) -> DeliveryStatus | None:
        """Send a direct run's result to its callback; return what came of it, None if it has no callback."""
        if request.callback_url is None:
            return None
        text = self._result_json(run_id, ran, request)
        delivery = self._callbacks.send(request.callback_url, run_id, f"mesh.run.{ran.outcome.status.value}", text)
        if delivery.status is not DeliveryStatus.DELIVERED:
            log("a callback was not delivered", run=run_id, status=delivery.status, reason=delivery.reason)
        return delivery.status

    def tell(self, subject: str, ran: Ran) -> None:
        """Gather the event of a run that ended now."""
        if ran.idempotent:
            return
        data: dict[str, JsonValue] = {"agent": self._agent, "costCents": ran.outcome.cost_cents, "attempt": ran.attempt}
        state = "retrying" if ran.retryable else ran.outcome.status.value
        self._events.emit(f"mesh.run.{state}", subject, data, once=str(ran.attempt))

    def _result(self, subject: str, ran: Ran, request: RunRequest | RunMessage) -> Message:
        return Message(self._result_json(subject, ran, request).encode(), self._attributes(subject, request))

    def _result_json(self, subject: str, ran: Ran, request: RunRequest | RunMessage) -> str:
        outcome = ran.outcome
        return RunResult(
            task_id=subject,
            agent=self._agent,
            status=outcome.status,
            result=json.loads(outcome.result_json) if outcome.result_json else None,
            cost_cents=outcome.cost_cents,
            attempt=ran.attempt,
            error=outcome.error,
            trace_id=request.trace_id or "",
            finished_at=self._clock.now(),
        ).model_dump_json(by_alias=True, exclude_none=True)

    def _dead_letter(self, subject: str, ran: Ran, request: RunRequest | RunMessage) -> Message:
        reason = ran.outcome.error.code if ran.outcome.error else ran.outcome.status.value
        task_id = subject if request.task_id == subject else None  # whoever is not trusted may name a task of another
        letter = request.model_copy(update={"task_id": task_id})
        body = letter.model_dump_json(by_alias=True, exclude_none=True).encode()
        return Message(body, {**self._attributes(subject, request), "deadLetterReason": reason})

    def _attributes(self, subject: str, request: RunRequest | RunMessage) -> dict[str, str]:
        trace = current_trace.get()
        attributes = {"agent": self._agent, "taskId": subject}
        if request.trace_id:
            attributes["traceId"] = request.trace_id
        if trace:
            attributes["traceparent"] = trace.traceparent
        return attributes
