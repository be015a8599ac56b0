"""Calls an agent's `/run` for a task in HTTP mode, with our ID token, and reads its answer as an outcome."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Final

import urllib3
from pydantic import ValidationError

from agent_mesh.agents.records import Outcome
from agent_mesh.contracts.problems import Problem, Unavailable
from agent_mesh.contracts.runs import RunResponse, RunStatus
from agent_mesh.contracts.values import result_text
from agent_mesh.dispatch.publishing import run_request
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.settlement import Arrival
from agent_mesh.platform.id_tokens import IdTokenSource
from agent_mesh.platform.logs import current_trace
from agent_mesh.platform.settings import AgentAddress

_TRIES: Final = 3
_PAUSES_S: Final = (0.1, 0.5)
_CONNECT_TIMEOUT_S: Final = 5.0
_REFUSALS: Final = {
    "ttl_expired": RunStatus.EXPIRED,
    "budget_exceeded": RunStatus.REJECTED,
    "agent_paused": RunStatus.REJECTED,
}


class AgentUnreachable(Exception):
    """The agent gave no usable answer; whether the run started only its claim can tell."""


class RunElsewhere(Exception):
    """The run is going on in other hands; its result comes by Pub/Sub."""


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes


class HttpRunner:
    """Runs tasks over HTTP; one per process, its connections are kept."""

    def __init__(self, tokens: IdTokenSource, longest_wait_s: float) -> None:
        """`longest_wait_s` bounds one call."""
        self._tokens = tokens
        self._longest_wait_s = longest_wait_s
        self._pool = urllib3.PoolManager(num_pools=20, maxsize=64, retries=False)

    def run(self, task: TaskRecord, address: AgentAddress, now: float) -> Arrival:
        """Return how the run ended. Raises `RunElsewhere` or `AgentUnreachable`."""
        reason = ""
        for pause in (*_PAUSES_S, None):
            answer = self._call(task, address, now)
            if isinstance(answer, _Answer) and answer.status < 500:  # noqa: PLR2004  # server errors are worth a retry
                return self._read(task, answer)
            reason = answer if isinstance(answer, str) else f"it answered {answer.status}"
            if pause is not None:
                time.sleep(pause)
        message = f"Agent {task.agent} could not be reached in {_TRIES} tries: {reason}."
        raise AgentUnreachable(message)

    def _call(self, task: TaskRecord, address: AgentAddress, now: float) -> _Answer | str:
        trace = current_trace.get()
        try:
            headers = {
                "Authorization": f"Bearer {self._tokens.token(address.audience)}",
                "Content-Type": "application/json",
                **({"traceparent": trace.traceparent} if trace else {}),
            }
            response = self._pool.request(
                "POST",
                address.url.rstrip("/") + "/run",
                body=run_request(task).model_dump_json(by_alias=True, exclude_none=True).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=self._patience_s(task, now)),
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return type(error).__name__
        except Unavailable as error:
            return error.detail
        return _Answer(response.status, response.data)

    def _patience_s(self, task: TaskRecord, now: float) -> float:
        """A run may take until the ttl; its answer a little longer."""
        return max(1.0, min(self._longest_wait_s, task.ttl - now + 1.0))

    def _read(self, task: TaskRecord, answer: _Answer) -> Arrival:
        try:
            if answer.status == 200:  # noqa: PLR2004
                run = RunResponse.model_validate_json(answer.body)
                text = result_text(run.result)
                outcome = Outcome(
                    run.status, text if run.status is RunStatus.SUCCEEDED else None, run.error, run.cost_cents
                )
                return Arrival(outcome, max(run.attempt, task.attempt), message_follows=True)
            problem = Problem.model_validate(json.loads(answer.body))
        except (ValidationError, ValueError, RecursionError) as error:
            message = f"Agent {task.agent} answered {answer.status} with a body that is not the contract's."
            raise AgentUnreachable(message) from error
        if problem.code == "busy":
            raise RunElsewhere(problem.detail)
        if problem.code in _REFUSALS:
            return Arrival(Outcome.refused(_REFUSALS[problem.code], problem.code, problem.detail), task.attempt)
        message = f"Agent {task.agent} refused the call with {answer.status} {problem.code}: {problem.detail}"
        raise AgentUnreachable(message)
