"""Calling an agent over HTTP: real connections to a server of this machine that answers as the test says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typing_extensions import override

from agent_mesh.agents.records import Outcome
from agent_mesh.contracts.problems import (
    PROBLEM_CONTENT_TYPE,
    AgentPaused,
    BudgetExceeded,
    Busy,
    Forbidden,
    IdempotencyConflict,
    Internal,
    MeshError,
    TtlExpired,
    Unavailable,
)
from agent_mesh.contracts.runs import RunRequest, RunStatus
from agent_mesh.contracts.tasks import Mode, TaskFault, TaskStatus
from agent_mesh.contracts.values import RESULT_LIMIT_BYTES
from agent_mesh.dispatch import http_runner
from agent_mesh.dispatch.http_runner import AgentUnreachable, HttpRunner, RunElsewhere
from agent_mesh.dispatch.record import TaskRecord
from agent_mesh.dispatch.settlement import Arrival
from agent_mesh.platform.clock import moment
from agent_mesh.platform.id_tokens import IdTokenSource
from agent_mesh.platform.logs import current_trace
from agent_mesh.platform.settings import AgentAddress
from agent_mesh.platform.trace import Trace

NOW = 1_800_000_000.0
AUDIENCE = "https://light.example.com"
TASK = TaskRecord(
    task_id="task_1",
    agent="light",
    caller="ann",
    mode=Mode.HTTP,
    status=TaskStatus.ACCEPTED,
    payload_json='{"n":1}',
    fingerprint="f",
    ttl=NOW + 60,
    budget_cents=10,
    trace_id="trace",
    created_at=moment(NOW),
    updated_at=moment(NOW),
    expire_at=moment(NOW),
    attempt=3,
    idempotency_key="k",
    callback_url="https://example.com/done",
)
SUCCEEDED = {"status": "succeeded", "result": {"a": [1.1, None]}, "costCents": 5, "attempt": 3}
Reply = Callable[[BaseHTTPRequestHandler], None]


def reply(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(raw)))
        request.end_headers()
        request.wfile.write(raw)

    return answer


def problem(error: MeshError) -> Reply:
    body = error.to_problem(instance="/run", trace_id="t").model_dump_json(by_alias=True, exclude_none=True)
    return reply(error.status, body.encode(), **{"Content-Type": PROBLEM_CONTENT_TYPE})


def hang_up(request: BaseHTTPRequestHandler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


@dataclass
class LightAgent:
    """The agent: answers as it was told, the last answer again and again."""

    replies: list[Reply] = field(default_factory=list)
    port: int = 0
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def address(self) -> AgentAddress:
        """Where it is."""
        return AgentAddress(url=f"http://127.0.0.1:{self.port}/", audience=AUDIENCE)

    def answers(self, *replies: Reply) -> None:
        """Answer so."""
        self.replies = list(replies)

    def next_reply(self) -> Reply:
        """Return the answer to the request that was read."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def light() -> Iterator[LightAgent]:
    """The agent."""
    agent = LightAgent([reply(200, SUCCEEDED)])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            agent.paths.append(self.path)
            agent.headers.append({name.lower(): value for name, value in self.headers.items()})
            agent.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            agent.next_reply()(self)

        def do_GET(self) -> None:
            agent.paths.append(self.path)
            reply(200, SUCCEEDED)(self)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    agent.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield agent
    server.shutdown()
    server.server_close()


class Tokens(IdTokenSource):
    """Gives the token that its audience names."""

    def token(self, audience: str) -> str:
        return f"token-for-{audience}"


class NoTokens(IdTokenSource):
    """Has none."""

    def token(self, audience: str) -> str:
        raise Unavailable(f"No ID token for audience {audience}.")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_runner, "_PAUSES_S", (0.001, 0.001))


@pytest.fixture
def runner() -> Iterator[HttpRunner]:
    runner = HttpRunner(Tokens(), 5.0)
    yield runner
    runner._pool.clear()


@pytest.fixture
def run(runner: HttpRunner, light: LightAgent) -> Callable[[], Arrival]:
    return lambda: runner.run(TASK, light.address, NOW)


def test_an_answer_is_an_outcome(run: Callable[[], Arrival]) -> None:
    assert run() == Arrival(Outcome(RunStatus.SUCCEEDED, '{"a":[1.1,null]}', None, 5), 3, message_follows=True)


def test_the_agent_is_asked_with_our_token_for_what_the_task_says(
    run: Callable[[], Arrival], light: LightAgent
) -> None:
    token = current_trace.set(Trace("a" * 32, "b" * 16))
    run()
    current_trace.reset(token)
    (body,) = light.bodies
    assert RunRequest.model_validate_json(body) == RunRequest(
        payload={"n": 1},
        ttl=NOW + 60,
        budget_cents=10,
        idempotency_key="k",
        trace_id="trace",
        task_id="task_1",
        attempt=3,
    )
    assert light.paths == ["/run"]
    (headers,) = light.headers
    assert headers["authorization"] == f"Bearer token-for-{AUDIENCE}"
    assert headers["content-type"] == "application/json"
    assert headers["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-01"


def test_without_a_trace_none_is_sent(run: Callable[[], Arrival], light: LightAgent) -> None:
    token = current_trace.set(None)
    run()
    current_trace.reset(token)
    assert "traceparent" not in light.headers[0]


@pytest.mark.parametrize(
    ("status", "kept"), [("failed", RunStatus.FAILED), ("dead", RunStatus.DEAD), ("cancelled", RunStatus.CANCELLED)]
)
def test_a_run_that_did_not_succeed_has_its_reason_and_no_result(
    run: Callable[[], Arrival], light: LightAgent, status: str, kept: RunStatus
) -> None:
    fault = {"code": "closed", "detail": "not today"}
    light.answers(reply(200, {"status": status, "result": "half", "costCents": 2, "error": fault, "attempt": 1}))
    outcome = Outcome(kept, None, TaskFault(code="closed", detail="not today"), 2)
    assert run() == Arrival(outcome, 3, message_follows=True)


def test_an_agent_that_counts_more_attempts_is_believed(run: Callable[[], Arrival], light: LightAgent) -> None:
    light.answers(reply(200, SUCCEEDED | {"attempt": 7, "fieldOfANewerAgent": 1}))
    assert run().attempt == 7


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TtlExpired("Too late."), RunStatus.EXPIRED),
        (BudgetExceeded("Too dear."), RunStatus.REJECTED),
        (AgentPaused("Paused."), RunStatus.REJECTED),
    ],
    ids=["late", "dear", "paused"],
)
def test_a_refusal_is_the_end_of_a_run_that_never_started(
    run: Callable[[], Arrival], light: LightAgent, error: MeshError, status: RunStatus
) -> None:
    light.answers(problem(error))
    assert run() == Arrival(Outcome.refused(status, error.code, error.detail), 3)
    assert len(light.paths) == 1


def test_a_run_in_other_hands_is_not_waited_for(run: Callable[[], Arrival], light: LightAgent) -> None:
    light.answers(problem(Busy("Attempt 2 is going on.")))
    with pytest.raises(RunElsewhere, match="Attempt 2 is going on"):
        run()
    assert len(light.paths) == 1


@pytest.mark.parametrize("error", [Forbidden("Not you."), IdempotencyConflict("Another.")], ids=lambda e: str(e.code))
def test_any_other_refusal_says_nothing_of_the_run(
    run: Callable[[], Arrival], light: LightAgent, error: MeshError
) -> None:
    light.answers(problem(error))
    with pytest.raises(AgentUnreachable, match=f"{error.status} {error.code}: {error.detail}"):
        run()
    assert len(light.paths) == 1


@pytest.mark.parametrize("fault", [problem(Internal("Broken.")), reply(503), hang_up], ids=["500", "503", "hung up"])
def test_a_server_that_fails_is_asked_three_times(run: Callable[[], Arrival], light: LightAgent, fault: Reply) -> None:
    light.answers(fault)
    with pytest.raises(AgentUnreachable, match="in 3 tries"):
        run()
    assert len(light.paths) == 3


def test_a_server_that_fails_twice_has_answered(run: Callable[[], Arrival], light: LightAgent) -> None:
    light.answers(reply(502), hang_up, reply(200, SUCCEEDED))
    assert run().outcome.status is RunStatus.SUCCEEDED
    assert len(light.paths) == 3


def test_a_try_that_was_cut_off_may_find_the_run_going_on(run: Callable[[], Arrival], light: LightAgent) -> None:
    light.answers(hang_up, problem(Busy("It is going on.")))
    with pytest.raises(RunElsewhere):
        run()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b'{"status": "succeeded"}',
        b'{"status": "splendid", "costCents": 1}',
        b'{"status": "succeeded", "costCents": -1}',
        b'{"status": "succeeded", "costCents": 1.5}',
        b'{"status": "succeeded", "costCents": 1, "attempt": 99999999999}',
        b'{"status": "succeeded", "costCents": 1, "result": NaN}',
        b'{"status": "succeeded", "costCents": 1, "result": "' + b"x" * RESULT_LIMIT_BYTES + b'"}',
    ],
    ids=[
        "empty",
        "text",
        "bytes",
        "deep",
        "list",
        "no cost",
        "status",
        "refund",
        "fraction",
        "attempts",
        "nan",
        "large",
    ],
)
def test_an_answer_that_is_not_the_contracts_says_nothing_of_the_run(
    run: Callable[[], Arrival], light: LightAgent, body: bytes
) -> None:
    light.answers(reply(200, body))
    with pytest.raises(AgentUnreachable, match="answered 200 with a body that is not the contract's"):
        run()


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"null", b'{"code": "busy"}'])
def test_a_refusal_that_is_no_problem_says_nothing_of_the_run(
    run: Callable[[], Arrival], light: LightAgent, body: bytes
) -> None:
    light.answers(reply(429, body))
    with pytest.raises(AgentUnreachable, match="answered 429"):
        run()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(run: Callable[[], Arrival], light: LightAgent, status: int) -> None:
    light.answers(reply(status, Location=f"http://127.0.0.1:{light.port}/elsewhere"))
    with pytest.raises(AgentUnreachable, match=f"answered {status}"):
        run()
    assert light.paths == ["/run"]


def test_a_port_that_nobody_listens_on_is_unreachable(runner: HttpRunner) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = AgentAddress(url=f"http://127.0.0.1:{nobody.getsockname()[1]}", audience=AUDIENCE)
        with pytest.raises(AgentUnreachable, match="NewConnectionError"):
            runner.run(TASK, address, NOW)


@pytest.mark.parametrize("url", ["no url", "ftp://light", "http://[", "http://"])
def test_an_address_that_is_none_is_unreachable(runner: HttpRunner, url: str) -> None:
    with pytest.raises(AgentUnreachable):
        runner.run(TASK, AgentAddress(url=url, audience=AUDIENCE), NOW)


def test_without_a_token_nobody_is_asked(light: LightAgent) -> None:
    with pytest.raises(AgentUnreachable, match="No ID token for audience"):
        HttpRunner(NoTokens(), 5.0).run(TASK, light.address, NOW)
    assert light.paths == []


def test_an_agent_that_does_not_answer_is_given_up_in_time(
    light: LightAgent, runner: HttpRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    monkeypatch.setattr(HttpRunner, "_patience_s", lambda *_: 0.1)
    light.answers(lambda _request: (done.wait(10), None)[1])
    started = time.monotonic()
    with pytest.raises(AgentUnreachable, match="ReadTimeoutError"):
        runner.run(TASK, light.address, NOW)
    done.set()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("left_s", "patience_s"), [(60.0, 61.0), (1000.0, 240.0), (0.0, 1.0), (-50.0, 1.0)], ids=["ttl", "max", "0", "past"]
)
def test_an_answer_is_waited_for_until_the_ttl_and_never_longer_than_the_limit(
    left_s: float, patience_s: float
) -> None:
    assert HttpRunner(Tokens(), 240.0)._patience_s(TASK, TASK.ttl - left_s) == patience_s


def test_one_connection_serves_many_runs(run: Callable[[], Arrival], runner: HttpRunner, light: LightAgent) -> None:
    for _ in range(5):
        run()
    pool = runner._pool.connection_from_url(light.address.url)
    assert (pool.num_connections, pool.num_requests) == (1, 5)
