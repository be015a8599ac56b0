from __future__ import annotations

from collections.abc import Callable

import pytest

from agent_mesh.client import (
    ConnectionFailed,
    ConnectionTimedOut,
    MeshClient,
    MockTransport,
    ProblemError,
    Reply,
    Request,
)
from agent_mesh.contracts.problems import Busy, InvalidRequest, MeshError, Unavailable
from tests.unit.client.stub_mesh import a_task, refusal

TASK = Reply(200, {}, a_task().model_dump_json(by_alias=True).encode())


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return sum(self.naps)

    def sleep(self, seconds: float, /) -> None:
        self.naps.append(seconds)


class NoTokens:
    def token(self, audience: str) -> str:
        return f"token-for-{audience}"


def problem(error: MeshError) -> Reply:
    answer = refusal(error)
    return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.encoded())


def failing(times: int, failure: Reply | Exception, then: Reply = TASK) -> Callable[[Request], Reply]:
    left = [times]

    def handle(_request: Request) -> Reply:
        left[0] -= 1
        if left[0] < 0:
            return then
        if isinstance(failure, Exception):
            raise failure
        return failure

    return handle


def client(handler: Callable[[Request], Reply]) -> tuple[MeshClient, MockTransport, Clock]:
    transport, clock = MockTransport(handler), Clock()
    return MeshClient("http://mesh.test/", tokens=NoTokens(), transport=transport, clock=clock), transport, clock


@pytest.mark.parametrize("failure", [ConnectionFailed("refused"), problem(Busy("b")), problem(Unavailable("u"))])
def test_a_get_outlives_three_passing_failures(failure: Reply | Exception) -> None:
    mesh, transport, clock = client(failing(3, failure))
    assert mesh.task("task_1").task_id == "task_1"
    assert len(transport.requests) == 4
    assert clock.naps == sorted(clock.naps) or len(set(clock.naps)) == 3
    assert 0 < sum(clock.naps) < 2


def test_the_fourth_failure_is_the_callers() -> None:
    mesh, transport, _ = client(failing(99, ConnectionFailed("refused")))
    with pytest.raises(ConnectionFailed, match="refused"):
        mesh.task("task_1")
    assert len(transport.requests) == 4


def test_a_dispatch_without_a_key_is_sent_once() -> None:
    mesh, transport, _ = client(failing(1, problem(Unavailable("u"))))
    with pytest.raises(ProblemError):
        mesh.dispatch("light", {}, budget_cents=5)
    assert len(transport.requests) == 1


def test_a_dispatch_with_a_key_is_repeated_byte_for_byte() -> None:
    mesh, transport, _ = client(failing(2, ConnectionFailed("reset")))
    mesh.dispatch("light", {"n": 1}, budget_cents=5, idempotency_key="k")
    assert len(transport.requests) == 3
    assert len({request.body for request in transport.requests}) == 1


def test_a_batch_is_repeated_only_when_every_task_has_a_key() -> None:
    from agent_mesh.client import dispatch_request

    keyed = dispatch_request("light", {}, budget_cents=1, idempotency_key="k")
    bare = dispatch_request("light", {}, budget_cents=1)
    answer = Reply(200, {}, b'{"results": [], "accepted": 0, "refused": 0}')
    mesh, transport, _ = client(failing(1, ConnectionFailed("reset"), then=answer))
    mesh.dispatch_batch([keyed])
    assert len(transport.requests) == 2
    mesh, transport, _ = client(failing(1, ConnectionFailed("reset"), then=answer))
    with pytest.raises(ConnectionFailed):
        mesh.dispatch_batch([keyed, bare])
    assert len(transport.requests) == 1


@pytest.mark.parametrize("call", ["cancel", "pause", "resume", "replay", "replay_dead"])
def test_other_posts_are_sent_once(call: str) -> None:
    mesh, transport, _ = client(failing(1, ConnectionFailed("reset")))
    with pytest.raises(ConnectionFailed):
        getattr(mesh, call)("x")
    assert len(transport.requests) == 1


def test_retry_after_is_kept() -> None:
    mesh, _, clock = client(failing(1, problem(Busy("b", retry_after_s=7))))
    mesh.task("task_1")
    assert clock.naps == [7]


def test_a_long_retry_after_is_told_instead_of_waited_for() -> None:
    mesh, transport, clock = client(failing(1, problem(Unavailable("u", retry_after_s=120))))
    with pytest.raises(ProblemError) as caught:
        mesh.task("task_1")
    assert caught.value.retry_after_s == 120
    assert (len(transport.requests), clock.naps) == (1, [])


@pytest.mark.parametrize("failure", [problem(InvalidRequest("i")), ConnectionTimedOut("slow")])
def test_what_does_not_pass_is_not_tried_again(failure: Reply | Exception) -> None:
    mesh, transport, _ = client(failing(1, failure))
    with pytest.raises((ProblemError, ConnectionTimedOut)):
        mesh.task("task_1")
    assert len(transport.requests) == 1


def test_a_date_as_retry_after_is_understood() -> None:
    from email.utils import formatdate

    late = Reply(503, {"retry-after": formatdate(usegmt=True)}, problem(Unavailable("u")).body)
    mesh, _, clock = client(failing(1, late))
    mesh.task("task_1")
    assert clock.naps == [pytest.approx(0, abs=1)]
