"""`MeshClient`: the orchestrator's calls as methods."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, RootModel

from agent_mesh.client._errors import RequestInvalid, WaitTimedOut
from agent_mesh.client._exchange import Call, Exchange, clean_base_url
from agent_mesh.client._pace import Clock, growing_steps
from agent_mesh.client._requests import DispatchOptions, checked, dispatch_request
from agent_mesh.client._stack import STACK_FILE, Stack
from agent_mesh.client._target import choose_target, find_target
from agent_mesh.client._tokens import GoogleTokens, TokenSource
from agent_mesh.client._transport import PooledTransport, Transport
from agent_mesh.contracts.problems import FieldFault
from agent_mesh.contracts.tasks import (
    AgentState,
    BatchRequest,
    BatchResponse,
    DeadLetter,
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

ORCHESTRATOR = "orchestrator"
Answer = TypeVar("Answer", bound=BaseModel)


class Health(RootModel[dict[str, JsonValue]]):
    """The orchestrator's own word on how it is."""


class MeshClient:
    """A caller of one orchestrator. Threads may share it; close it, or use it with `with`.

    GETs, and dispatches that have an idempotency key, are repeated up to three times when there is no connection or
    the answer is 429 or 503; everything else is sent once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        audience: str | None = None,
        tokens: TokenSource | None = None,
        transport: Transport | None = None,
        timeout_s: float = 300,
        clock: Clock = time,
    ) -> None:
        """Speak to the orchestrator at `base_url`, whose tokens' audience is the same unless `audience` is given.

        Without `tokens` they are this process's own on Google Cloud. `timeout_s` bounds one answer: an HTTP-mode
        dispatch takes as long as its agent. Raises `RequestInvalid` when `base_url` is no http(s) URL.
        """
        try:
            url = clean_base_url(base_url)
        except ValueError as error:
            raise RequestInvalid([FieldFault(field="base_url", message=str(error))]) from error
        self._clock = clock
        self._transport = transport or PooledTransport()
        self._exchange = Exchange(url, audience or url, tokens or GoogleTokens(), self._transport, timeout_s, clock)

    @classmethod
    def from_stack(
        cls, path: str | Path = STACK_FILE, email: str | None = None, *, audience: str | None = None
    ) -> Self:
        """Speak to the local stack, found here or above as git finds its repository.

        One is `email`, the stack's developer unless it is given. Raises `StackNotFound` and `StackUnreadable`.
        """
        stack = Stack.read(path)
        orchestrator = stack.function(ORCHESTRATOR)
        transport = PooledTransport()
        return cls(
            orchestrator.url,
            audience=audience or orchestrator.audience,
            tokens=stack.tokens(email, transport),
            transport=transport,
        )

    @classmethod
    def from_environment(
        cls,
        name: str | None = None,
        *,
        url: str | None = None,
        audience: str | None = None,
        identity: str | None = None,
        tokens: TokenSource | None = None,
    ) -> Self:
        """Speak to the mesh that `agent-mesh login` stored under `name`, by the same rules as `agent-mesh --env`.

        What is given here comes first, then the variables `AGENT_MESH_URL`, `AGENT_MESH_AUDIENCE`, `AGENT_MESH_ENV` and
        `AGENT_MESH_AS`, and where none of these names a mesh the local stack. `identity` is a service account to
        impersonate. Raises `EnvironmentUnknown`, `EnvironmentsUnreadable` and `RequestInvalid`.
        """
        chosen = choose_target(name, url=url, audience=audience, account=identity)
        target = find_target(chosen.environment, url=chosen.url, audience=chosen.audience, account=chosen.account)
        if target is None:
            return cls.from_stack(email=chosen.account, audience=chosen.audience)
        return cls(target.url, audience=target.audience, tokens=tokens or GoogleTokens(target.account))

    def dispatch(self, agent: str, payload: Mapping[str, JsonValue], **options: Unpack[DispatchOptions]) -> Task:
        """Dispatch one task; in HTTP mode it is finished on return, in Pub/Sub mode accepted."""
        return self.send(dispatch_request(agent, payload, **options))

    def send(self, request: DispatchRequest) -> Task:
        """Dispatch a request that is made already."""
        return self._post("/dispatch", Task, request, repeatable=request.idempotency_key is not None)

    def dispatch_batch(self, requests: Iterable[DispatchRequest]) -> BatchResponse:
        """Dispatch up to 500 tasks in Pub/Sub mode; each is accepted or refused by itself."""
        batch = list(requests)
        tasks = [_wire(request.model_copy(update={"mode": Mode.PUBSUB})) for request in batch]
        body = checked(BatchRequest, {"tasks": tasks})
        return self._post(
            "/dispatch/batch", BatchResponse, body, repeatable=all(request.idempotency_key for request in batch)
        )

    def task(self, task_id: str) -> Task:
        """Return one task."""
        return self._get(f"/task/{segment(task_id)}", Task)

    def tasks(
        self,
        *,
        agent: str | None = None,
        status: TaskStatus | str | None = None,
        idempotency_key: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> TaskPage:
        """Return one page of tasks, newest first."""
        filters = {"agent": agent, "status": status, "idempotencyKey": idempotency_key}
        return self._get("/tasks", TaskPage, **filters, cursor=cursor, limit=limit)

    def iter_tasks(
        self,
        *,
        agent: str | None = None,
        status: TaskStatus | str | None = None,
        idempotency_key: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Task]:
        """Yield all tasks, newest first, page by page as they are asked for."""
        cursor: str | None = None
        while True:
            page = self.tasks(
                agent=agent, status=status, idempotency_key=idempotency_key, cursor=cursor, limit=page_size
            )
            yield from page.tasks
            cursor = page.next_cursor
            if cursor is None:
                return

    def wait(self, task_id: str, timeout_s: float = 60) -> Task:
        """Return the task once it is terminal; raise `WaitTimedOut` after `timeout_s` seconds."""
        deadline = self._clock.monotonic() + timeout_s
        for step in growing_steps(first_s=0.02, longest_s=2.0):
            task = self.task(task_id)
            if task.status.terminal:
                return task
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise WaitTimedOut(task, timeout_s)
            self._clock.sleep(min(step, left))
        raise AssertionError  # the steps never end

    def timeline(self, task_id: str) -> Timeline:
        """Return what happened to a task, oldest first."""
        return self._get(f"/task/{segment(task_id)}/events", Timeline)

    def explain(self, task_id: str) -> Explanation:
        """Return why a task is where it is and what will happen next."""
        return self._get(f"/task/{segment(task_id)}/explain", Explanation)

    def cancel(self, task_id: str) -> Task:
        """Cancel a task; one that runs is asked to stop, one that does not run never will."""
        return self._post(f"/task/{segment(task_id)}/cancel", Task)

    def replay(
        self,
        task_id: str,
        *,
        ttl: float | None = None,
        budget_cents: int | None = None,
        mode: Mode | str | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """Make a new task of an old one; what is not given is the old one's. `ttl` is an absolute Unix time."""
        fields = {"ttl": ttl, "budget_cents": budget_cents, "mode": mode, "idempotency_key": idempotency_key}
        body = checked(ReplayRequest, fields)
        return self._post(f"/task/{segment(task_id)}/replay", Task, body, repeatable=idempotency_key is not None)

    def pause(self, agent: str) -> AgentState:
        """Let an agent take no more work."""
        return self._post(f"/agents/{segment(agent)}/pause", AgentState)

    def resume(self, agent: str) -> AgentState:
        """Let a paused agent work again, what waited for it first."""
        return self._post(f"/agents/{segment(agent)}/resume", AgentState)

    def dead(
        self,
        *,
        agent: str | None = None,
        reason: str | None = None,
        task_id: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> DeadLetterPage:
        """Return one page of dead letters, newest first."""
        filters = {"agent": agent, "reason": reason, "taskId": task_id}
        return self._get("/dead", DeadLetterPage, **filters, cursor=cursor, limit=limit)

    def iter_dead(
        self,
        *,
        agent: str | None = None,
        reason: str | None = None,
        task_id: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[DeadLetter]:
        """Yield all dead letters, newest first, page by page as they are asked for."""
        cursor: str | None = None
        while True:
            page = self.dead(agent=agent, reason=reason, task_id=task_id, cursor=cursor, limit=page_size)
            yield from page.dead
            cursor = page.next_cursor
            if cursor is None:
                return

    def replay_dead(self, dead_id: str) -> DeadReplay:
        """Give a dead letter another try."""
        return self._post(f"/dead/{segment(dead_id)}/replay", DeadReplay)

    def sweep(self, wait_seconds: int = 0) -> SweepReport:
        """Let the orchestrator do now what its scheduler lets it do every minute."""
        return self._post("/sweep", SweepReport, checked(SweepRequest, {"wait_seconds": wait_seconds}))

    def health(self) -> dict[str, JsonValue]:
        """Return what the orchestrator's liveness answers."""
        return self._get("/health", Health).root

    def close(self) -> None:
        """Let go of open connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, path: str, answer: type[Answer], **query: str | int | None) -> Answer:
        return self._exchange.ask(Call("GET", path, query=query, repeatable=True), answer)

    def _post(
        self, path: str, answer: type[Answer], body: BaseModel | None = None, *, repeatable: bool = False
    ) -> Answer:
        return self._exchange.ask(Call("POST", path, body=body, repeatable=repeatable), answer)


def segment(value: str) -> str:
    """Return a value as one segment of a path; `..` and `/` in an id stay an id."""
    return quote(value, safe="") if value not in {"", ".", ".."} else quote(f"({value})")


def _wire(request: DispatchRequest) -> dict[str, Any]:
    return request.model_dump(mode="json", by_alias=True, exclude_none=True)
