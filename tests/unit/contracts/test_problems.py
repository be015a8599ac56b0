"""The tree of errors and its wire shape."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from agent_mesh.contracts import problems
from agent_mesh.contracts.problems import (
    PROBLEM_TYPE_PREFIX,
    AgentPaused,
    AttemptFailed,
    Conflict,
    FieldFault,
    InvalidRequest,
    MeshError,
    Problem,
    Unavailable,
    error_with_code,
)


def family(kind: type[MeshError]) -> list[type[MeshError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in family(child))]


def own_family() -> list[type[MeshError]]:
    return [each for each in family(MeshError) if each.__module__ == problems.__name__]


KINDS = own_family()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_snake_case_code_a_status_and_a_title(kind: type[MeshError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert 400 <= kind.status <= 599
    assert kind.title
    assert not kind.title.endswith(".")


def test_no_two_errors_share_a_code() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)


def test_the_drawing_of_the_tree_names_every_error_with_its_status() -> None:
    drawing = dict(re.findall(r"[├└]── (\w+)(?: +(\d{3}))?", problems.__doc__ or ""))
    assert set(drawing) == {kind.__name__ for kind in KINDS} - {"MeshError"}
    assert {kind.__name__: kind.status for kind in KINDS if drawing.get(kind.__name__)} == {
        name: int(status) for name, status in drawing.items() if status
    }


def test_the_drawing_hangs_every_error_under_its_parent() -> None:
    parents: dict[int, str] = {0: "MeshError"}
    for indent, name in re.findall(r"^([│ ]*)[├└]── (\w+)", problems.__doc__ or "", flags=re.MULTILINE):
        depth = len(indent) // 4 + 1
        parents[depth] = name
        assert getattr(problems, name).__base__.__name__ == parents[depth - 1]


def test_whoever_handles_a_kind_of_error_handles_its_children() -> None:
    assert issubclass(AttemptFailed, Unavailable)
    assert issubclass(AgentPaused, Conflict)
    assert AttemptFailed.status == Unavailable.status == 503


def test_an_error_says_everything_it_knows_on_the_wire() -> None:
    error = InvalidRequest(
        "ttl: is in the past", errors=[FieldFault(field="ttl", message="is in the past")], task_id="task_1"
    )
    problem = error.to_problem(instance="/dispatch", trace_id="abc")
    assert problem.model_dump(by_alias=True) == {
        "type": PROBLEM_TYPE_PREFIX + "invalid_request",
        "title": "The request does not fit the contract",
        "status": 422,
        "detail": "ttl: is in the past",
        "instance": "/dispatch",
        "code": "invalid_request",
        "traceId": "abc",
        "taskId": "task_1",
        "errors": [{"field": "ttl", "message": "is in the past"}],
    }


def test_an_error_that_knows_little_leaves_the_rest_out() -> None:
    error = MeshError("It broke.", retry_after_s=7)
    assert str(error) == "It broke."
    assert error.retry_after_s == 7
    sent = error.to_problem().model_dump(by_alias=True, exclude_none=True)
    assert sent == {
        "type": "urn:agent-mesh:problem:mesh_error",
        "title": "Agent Mesh error",
        "status": 500,
        "detail": "It broke.",
        "instance": "",
        "code": "mesh_error",
        "traceId": "",
    }


def test_a_problem_reads_what_another_role_wrote() -> None:
    problem = Unavailable("Not now.").to_problem(trace_id="t")
    assert Problem.model_validate_json(problem.model_dump_json(by_alias=True)) == problem


@pytest.mark.parametrize("status", [200, 302, 600])
def test_a_problem_is_an_error_status(status: int) -> None:
    with pytest.raises(ValidationError):
        Problem(type="t", title="t", status=status, detail="d", code="c")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_code_that_was_stored_becomes_its_error_again(kind: type[MeshError]) -> None:
    error = error_with_code(kind.code, "As it was.", task_id="task_1")
    assert type(error) is kind
    assert (error.detail, error.task_id) == ("As it was.", "task_1")


def test_a_code_that_is_no_errors_is_an_invalid_request() -> None:
    assert type(error_with_code("a_handlers_own", "As it was.")) is InvalidRequest
