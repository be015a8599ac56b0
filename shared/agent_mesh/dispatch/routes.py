"""The orchestrator's routes."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from agent_mesh.contracts.problems import NotFound, error_with_code
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.tasks import (
    AgentState,
    BatchRequest,
    BatchResponse,
    DeadLetterPage,
    DeadReplay,
    DispatchRequest,
    Explanation,
    Mode,
    ReplayRequest,
    SweepReport,
    SweepRequest,
    Task,
    TaskPage,
    TaskStatus,
    Timeline,
)
from agent_mesh.contracts.values import AgentName, IdempotencyKey, TaskId
from agent_mesh.deadletters.store import DeadFilter, DeadRecord
from agent_mesh.dispatch.dispatcher import Dispatched
from agent_mesh.dispatch.orchestrator import Orchestrator
from agent_mesh.dispatch.store import TaskFilter
from agent_mesh.dispatch.story import explain, timeline
from agent_mesh.platform.app import PUSH_BODY_LIMIT_BYTES, FunctionApp, Reply, current_identity
from agent_mesh.platform.cursors import cursor_after, position_of
from agent_mesh.platform.function_parts import FunctionParts

_OK: Final = 200
_ACCEPTED: Final = 202
_OPEN: Final = {TaskStatus.ACCEPTED, TaskStatus.DELIVERED, TaskStatus.RUNNING}


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _TaskPath(BaseModel):
    task_id: TaskId


class _DeadPath(BaseModel):
    dead_id: TaskId


class _AgentPath(BaseModel):
    agent: AgentName


class _TasksQuery(_Query):
    agent: AgentName | None = None
    status: TaskStatus | None = None
    idempotency_key: IdempotencyKey | None = Field(default=None, alias="idempotencyKey")
    cursor: Annotated[str, Field(max_length=500)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class _DeadQuery(_Query):
    agent: AgentName | None = None
    reason: Annotated[str, Field(max_length=100)] | None = None
    task_id: TaskId | None = Field(default=None, alias="taskId")
    cursor: Annotated[str, Field(max_length=500)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


def orchestrator_app(parts: FunctionParts) -> FunctionApp:
    """Return the orchestrator's app, wired from `parts`."""
    mesh = Orchestrator(parts)
    app = parts.app("orchestrator", "Dispatches tasks to agents with deadline, budget and idempotency.")
    _dispatch_routes(app, mesh, parts)
    _task_routes(app, mesh, parts)
    _operator_routes(app, mesh, parts)
    _push_routes(app, mesh, parts)
    return app


def _dispatch_routes(app: FunctionApp, mesh: Orchestrator, parts: FunctionParts) -> None:
    access = parts.caller_access(parts.settings.callers, parts.settings.operators)

    @app.route("POST", "/dispatch", access=access, answers={200: Task, 202: Task}, summary="Dispatch a task")
    def dispatch(body: DispatchRequest) -> Reply:
        return _dispatched(mesh, mesh.dispatcher.dispatch(body, current_identity().email))

    @app.route(
        "POST",
        "/dispatch/batch",
        access=access,
        answers={200: BatchResponse},
        summary="Dispatch up to 500 tasks, one answer each",
        body_limit=PUSH_BODY_LIMIT_BYTES,
    )
    def dispatch_batch(body: BatchRequest) -> BatchResponse:
        return mesh.batch.dispatch(body.tasks, current_identity().email)


def _task_routes(app: FunctionApp, mesh: Orchestrator, parts: FunctionParts) -> None:
    access = parts.caller_access(parts.settings.callers, parts.settings.operators)

    @app.route("GET", "/task/<task_id>", access=access, answers={200: Task}, summary="A task")
    def task(path: _TaskPath) -> Task:
        return mesh.view(mesh.visible(path.task_id, current_identity().email))

    @app.route("GET", "/tasks", access=access, answers={200: TaskPage}, summary="Tasks, newest first")
    def tasks(query: _TasksQuery) -> TaskPage:
        return _tasks(mesh, query, current_identity().email)

    @app.route("POST", "/task/<task_id>/cancel", access=access, answers={200: Task, 202: Task}, summary="Cancel a task")
    def cancel(path: _TaskPath) -> Reply:
        caller = current_identity().email
        cancelled = mesh.control.cancel(mesh.visible(path.task_id, caller), caller)
        return Reply(mesh.view(cancelled), _OK if cancelled.status.terminal else _ACCEPTED)

    @app.route(
        "POST", "/task/<task_id>/replay", access=access, answers={200: Task, 202: Task}, summary="Run a task again"
    )
    def replay(path: _TaskPath, body: ReplayRequest) -> Reply:
        caller = current_identity().email
        return _dispatched(mesh, mesh.control.replay(mesh.visible(path.task_id, caller), body, caller))

    @app.route(
        "GET", "/task/<task_id>/events", access=access, answers={200: Timeline}, summary="What happened to a task"
    )
    def task_events(path: _TaskPath) -> Timeline:
        found = mesh.visible(path.task_id, current_identity().email)
        return timeline(found, mesh.runs.get(found.task_id), mesh.now())

    @app.route(
        "GET", "/task/<task_id>/explain", access=access, answers={200: Explanation}, summary="Why a task is where it is"
    )
    def task_explain(path: _TaskPath) -> Explanation:
        found = mesh.visible(path.task_id, current_identity().email)
        paused = mesh.controls.state(found.agent).paused
        return explain(found, mesh.runs.get(found.task_id), mesh.now(), paused=paused)


def _operator_routes(app: FunctionApp, mesh: Orchestrator, parts: FunctionParts) -> None:
    access = parts.caller_access(parts.settings.operators)

    @app.route(
        "POST", "/agents/<agent>/pause", access=access, answers={200: AgentState}, summary="Give an agent no more work"
    )
    def pause(path: _AgentPath) -> AgentState:
        return mesh.control.pause(path.agent, current_identity().email)

    @app.route(
        "POST", "/agents/<agent>/resume", access=access, answers={200: AgentState}, summary="Give an agent work again"
    )
    def resume(path: _AgentPath) -> AgentState:
        state = mesh.control.resume(path.agent, current_identity().email)
        return state.model_copy(update={"released": mesh.sweep().release(path.agent)})

    @app.route("GET", "/dead", access=access, answers={200: DeadLetterPage}, summary="Dead letters, newest first")
    def dead(query: _DeadQuery) -> DeadLetterPage:
        return _dead(mesh, query)

    @app.route(
        "POST", "/dead/<dead_id>/replay", access=access, answers={202: DeadReplay}, summary="Send a dead letter again"
    )
    def dead_replay(path: _DeadPath) -> Reply:
        letter = mesh.dead_letters.get(path.dead_id)
        if letter is None:
            raise NotFound(f"There is no dead letter {path.dead_id}.")
        return Reply(mesh.control.replay_dead(letter, current_identity().email), _ACCEPTED)

    @app.route(
        "POST", "/sweep", access=access, answers={200: SweepReport}, summary="Do what crashes and time left undone"
    )
    def sweep(body: SweepRequest) -> SweepReport:
        return mesh.sweep().run(body.wait_seconds)


def _push_routes(app: FunctionApp, mesh: Orchestrator, parts: FunctionParts) -> None:
    settings = parts.settings
    results = parts.push_access(settings.result_pushers, settings.results_audience, verify=settings.results_verify)
    letters = parts.push_access(settings.dead_letter_pushers, settings.results_audience, verify=settings.results_verify)

    @app.route(
        "POST",
        "/pubsub/results",
        access=results,
        answers={204: None},
        summary="Take a result from Pub/Sub",
        body_limit=PUSH_BODY_LIMIT_BYTES,
    )
    def pubsub_results(body: PushEnvelope) -> None:
        mesh.results.arrive_by_push(body)

    @app.route(
        "POST",
        "/pubsub/dead",
        access=letters,
        answers={204: None},
        summary="Take a dead letter from Pub/Sub",
        body_limit=PUSH_BODY_LIMIT_BYTES,
    )
    def pubsub_dead(body: PushEnvelope) -> None:
        mesh.control.bury(body)


def _dispatched(mesh: Orchestrator, dispatched: Dispatched) -> Reply:
    """Answer with the task; with a problem where an HTTP caller's run was refused by its agent."""
    task = dispatched.task
    headers = {"Location": f"/task/{task.task_id}"}
    if dispatched.replayed:
        headers["Idempotent-Replayed"] = "true"
    refused = task.status in {TaskStatus.REJECTED, TaskStatus.EXPIRED} and task.result_json is None
    if task.mode is Mode.HTTP and refused and task.error:
        raise error_with_code(task.error.code, task.error.detail, task_id=task.task_id)
    if task.status.terminal:
        return Reply(task.view(), _OK, headers)
    return Reply(mesh.view(task) if dispatched.replayed else task.view(), _ACCEPTED, headers)


def _tasks(mesh: Orchestrator, query: _TasksQuery, caller: str) -> TaskPage:
    """List; `delivered` and `running` are told from the runs, so they filter the page after it was read."""
    derived = query.status if query.status in _OPEN else None
    stored = TaskStatus.ACCEPTED if derived else query.status
    wanted = TaskFilter(None if mesh.is_operator(caller) else caller, query.agent, stored, query.idempotency_key)
    found, cursor = mesh.tasks.page(wanted, query.cursor, query.limit)
    views = mesh.views(found)
    return TaskPage(tasks=[view for view in views if derived in {None, view.status}], next_cursor=cursor)


def _dead(mesh: Orchestrator, query: _DeadQuery) -> DeadLetterPage:
    after = position_of(query.cursor) if query.cursor is not None else None
    found = mesh.dead_letters.page(DeadFilter(query.agent, query.reason, query.task_id, after), query.limit)
    cursor = cursor_after(found[-1].at, found[-1].dead_id) if len(found) == query.limit else None
    return DeadLetterPage(dead=[DeadRecord.view(each) for each in found], next_cursor=cursor)
