"""`POST /dispatch/batch`: up to 500 tasks, one answer each.

Tasks of one agent share commits, and all share a publish.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue, ValidationError

from agent_mesh.contracts.problems import FieldFault, InvalidRequest, MeshError
from agent_mesh.contracts.tasks import BatchAnswer, BatchResponse, DispatchRequest, Mode
from agent_mesh.contracts.values import to_json
from agent_mesh.dispatch.dispatcher import Dispatcher
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.platform.app import trace_id

_COMMIT_TASKS: Final = 50
_COMMIT_BYTES: Final = 4_000_000
"""A commit takes 10 MiB; tasks of one agent go together up to these bounds."""

_ACCEPTED: Final = 202
_FINISHED: Final = 200


@dataclass
class _Progress:
    """Answers so far, by position; and the tasks that are stored and still to be published."""

    answers: dict[int, BatchAnswer] = field(default_factory=dict)
    to_publish: list[TaskRecord] = field(default_factory=list)

    def refuse(self, position: int, error: MeshError) -> None:
        problem = error.to_problem(instance=f"/dispatch/batch#{position}", trace_id=trace_id())
        self.answers[position] = BatchAnswer(status=error.status, problem=problem)

    def accept(self, position: int, task: TaskRecord, *, publish: bool) -> None:
        self.answers[position] = BatchAnswer(status=_FINISHED if task.status.terminal else _ACCEPTED, task=task.view())
        if publish:
            self.to_publish.append(task)


class BatchDispatcher:
    """Dispatches many tasks in few calls."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        """Each task is accepted by the rules of `dispatcher`."""
        self._dispatcher = dispatcher

    def dispatch(self, requests: list[JsonValue], caller: str) -> BatchResponse:
        """Accept or refuse each request on its own; answer in their order."""
        progress = _Progress()
        admitted: list[tuple[int, TaskRecord]] = []
        for position, raw in enumerate(requests):
            try:
                one = self._dispatcher.admit(_parse(raw), caller)
                if one.first is not None:
                    repeated = self._dispatcher.accept_one(one.task, one.first)
                    progress.accept(position, repeated.task, publish=False)
                else:
                    admitted.append((position, one.task))
            except MeshError as error:
                progress.refuse(position, error)
        for group in _commits(admitted):
            self._accept(group, progress)
        self._dispatcher.send_on(progress.to_publish)
        answers = [progress.answers[position] for position in range(len(requests))]
        accepted = sum(answer.task is not None for answer in answers)
        return BatchResponse(results=answers, accepted=accepted, refused=len(answers) - accepted)

    def _accept(self, group: list[tuple[int, TaskRecord]], progress: _Progress) -> None:
        """Store a group in one commit; where that does not work for all of them, one by one."""
        accepted = self._dispatcher.accept_together([task for _, task in group])
        if accepted is not None:
            for (position, _), task in zip(group, accepted, strict=True):
                progress.accept(position, task, publish=True)
            return
        for position, task in group:
            try:
                dispatched = self._dispatcher.accept_one(task)
                progress.accept(position, dispatched.task, publish=not dispatched.replayed)
            except MeshError as error:
                progress.refuse(position, error)


def _parse(raw: JsonValue) -> DispatchRequest:
    """Return the request, in Pub/Sub mode unless it says otherwise, which is refused."""
    if isinstance(raw, dict):
        raw = {"mode": Mode.PUBSUB.value, **raw}
    try:
        request = DispatchRequest.model_validate_json(to_json(raw))
    except (ValidationError, ValueError) as error:
        faults = _faults(error)
        detail = "; ".join(f"{fault.field}: {fault.message}" for fault in faults[:5])
        raise InvalidRequest(detail, errors=faults[:50]) from error
    if request.mode is not Mode.PUBSUB:
        fault = FieldFault(field="mode", message="a batch is dispatched in mode pubsub")
        detail = "mode: a batch is dispatched in mode pubsub; use POST /dispatch to wait for one result."
        raise InvalidRequest(detail, errors=[fault])
    return request


def _faults(error: ValueError) -> list[FieldFault]:
    if not isinstance(error, ValidationError):
        return [FieldFault(field="body", message=str(error))]
    return [
        FieldFault(field=".".join(map(str, fault["loc"])) or "body", message=fault["msg"])
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _commits(admitted: list[tuple[int, TaskRecord]]) -> list[list[tuple[int, TaskRecord]]]:
    """Group by budget, within the bounds of a commit; no group holds one id twice."""
    groups: list[list[tuple[int, TaskRecord]]] = []
    open_groups: dict[str, tuple[list[tuple[int, TaskRecord]], set[str], int]] = {}
    for position, task in admitted:
        key = task.reservation.budget_id if task.reservation else f"{task.agent} unreserved"
        group, ids, size = open_groups.get(key, ([], set(), 0))
        if (
            len(group) == _COMMIT_TASKS
            or size + len(task.payload_json) > _COMMIT_BYTES
            or task.task_id in ids
            or not group
        ):
            group, ids, size = [], set(), 0
            groups.append(group)
        group.append((position, task))
        ids.add(task.task_id)
        open_groups[key] = (group, ids, size + len(task.payload_json))
    return groups
