"""Task messages: what the tasks topic carries, and the publish calls."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.contracts.runs import RunRequest
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.platform.logs import current_trace, log
from agent_mesh.platform.pubsub import Message, Publisher
from agent_mesh.platform.trace import trace_for


def run_request(task: TaskRecord) -> RunRequest:
    """Return what the agent is asked for. The callback stays with the orchestrator, which makes it.

    All of it was validated when the task was accepted; doing it again costs 3 ms for a payload of 200 KB.
    """
    return RunRequest.model_construct(
        payload=json.loads(task.payload_json),
        ttl=task.ttl,
        budget_cents=task.budget_cents,
        idempotency_key=task.idempotency_key,
        trace_id=task.trace_id,
        task_id=task.task_id,
        attempt=task.attempt,
    )


def task_message(task: TaskRecord) -> Message:
    """Return the message for the tasks topic; its attributes route it and carry the trace."""
    trace = current_trace.get()
    if trace is None or trace.trace_id != task.trace_id:
        trace = trace_for(task.trace_id)
    attributes = {"agent": task.agent, "traceId": task.trace_id, "traceparent": trace.traceparent}
    if task.idempotency_key is not None:
        attributes["idempotencyKey"] = task.idempotency_key
    return Message(run_request(task).model_dump_json(by_alias=True, exclude_none=True).encode(), attributes)


class TaskPublisher:
    """Publishes tasks."""

    def __init__(self, publisher: Publisher, topic: str) -> None:
        """`topic` is the full path of the tasks topic."""
        self._publisher = publisher
        self._topic = topic

    def publish(self, tasks: Sequence[TaskRecord]) -> bool:
        """Publish stored tasks.

        False if Pub/Sub does not take them now: they are due for the sweep, so nothing is lost.
        """
        try:
            self._publisher.publish(self._topic, [task_message(task) for task in tasks])
        except Unavailable as error:
            log("tasks wait for the sweep to be published", reason=error.detail, tasks=len(tasks))
            return False
        return True
