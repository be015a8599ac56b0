"""One call to the mesh: token, request, retries, and the answer as a model or an error of the tree."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError

from agent_mesh.client._errors import AnswerUnreadable, MeshClientError, ProblemError
from agent_mesh.client._pace import Clock, retry_delay
from agent_mesh.client._tokens import TokenSource
from agent_mesh.client._transport import Reply, Request, Transport, origin
from agent_mesh.contracts.problems import PROBLEM_CONTENT_TYPE, PROBLEM_TYPE_PREFIX, Problem

Answer = TypeVar("Answer", bound=BaseModel)
Result = TypeVar("Result")

_FIRST_REFUSAL = 400
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked: method, path below the base URL, query and body, and whether it may be sent twice."""

    method: str
    path: str
    query: Mapping[str, str | int | None] | None = None
    body: BaseModel | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """Everything that calls to one function have in common."""

    base_url: str
    audience: str
    tokens: TokenSource | None
    transport: Transport
    timeout_s: float
    clock: Clock

    def ask(self, call: Call, answer: type[Answer]) -> Answer:
        """Return the answer as a model; repeat what may be repeated; raise the tree's errors."""
        return self._repeated(call, lambda reply: _read(reply, call, answer))

    def fetch(self, call: Call) -> bytes:
        """Return the answer as it is: a text, a tile. Repeat what may be repeated; raise the tree's errors."""
        return self._repeated(call, lambda reply: _accepted(reply, call).body)

    def _repeated(self, call: Call, read: Callable[[Reply], Result]) -> Result:
        attempt = 1
        while True:
            try:
                return read(self._send(call))
            except MeshClientError as error:
                delay = retry_delay(error, attempt) if call.repeatable else None
                if delay is None:
                    raise
            self.clock.sleep(delay)
            attempt += 1

    def _send(self, call: Call) -> Reply:
        headers = {"Accept": f"application/json, {PROBLEM_CONTENT_TYPE}", "User-Agent": "agent-mesh-client"}
        body = None
        if call.body is not None:
            body = call.body.model_dump_json(by_alias=True, exclude_none=True).encode()
            headers["Content-Type"] = "application/json"
        if self.tokens is not None:
            headers["Authorization"] = f"Bearer {self.tokens.token(self.audience)}"
        return self.transport.send(Request(call.method, self._url(call), headers, body, self.timeout_s))

    def _url(self, call: Call) -> str:
        given = {name: value for name, value in (call.query or {}).items() if value is not None}
        return self.base_url + call.path + (f"?{urlencode(given)}" if given else "")


def _accepted(reply: Reply, call: Call) -> Reply:
    if reply.status >= _FIRST_REFUSAL:
        raise refusal(reply, call)
    return reply


def _read(reply: Reply, call: Call, answer: type[Answer]) -> Answer:
    try:
        return answer.model_validate_json(_accepted(reply, call).body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise AnswerUnreadable(
            f"{call.method} {call.path} was answered with {reply.status} and something that is no {answer.__name__} "
            f"({first['msg']}): is this address that of the function that is meant, and of the same version?"
        ) from error


def refusal(reply: Reply, call: Call) -> ProblemError:
    """Return what an answer that is none says, as an error of the tree."""
    return ProblemError(_problem(reply, call), reply.status, retry_after_s=_retry_after(reply))


def _problem(reply: Reply, call: Call) -> Problem:
    """Return the answered problem, or one that says what stood in front of the mesh and answered in its place."""
    try:
        return Problem.model_validate_json(reply.body)
    except ValidationError:
        code = f"http_{reply.status}"
        shown = reply.body.decode(errors="replace")[:_SHOWN_CHARACTERS]
        return Problem(
            type=PROBLEM_TYPE_PREFIX + code,
            title="Something in front of the mesh refused",
            status=min(max(reply.status, 400), 599),
            detail=f"{call.method} {call.path} was answered with {reply.status}, not by the mesh: {shown!r}",
            code=code,
        )


def _retry_after(reply: Reply) -> float | None:
    """Return `Retry-After` in seconds from now; it may be a number or a date (RFC 9110 section 10.2.3)."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def clean_base_url(url: str) -> str:
    """Return a base URL without its trailing slash; raise `ValueError` for what is no http(s) URL."""
    if not url.startswith(("http://", "https://")) or origin(url).endswith("//"):
        raise ValueError(f"{url!r} is no http(s) address of an orchestrator")
    return url.rstrip("/")
