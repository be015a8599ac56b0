from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_mesh.client import MeshClient, Stack, StackNotFound, StackUnreadable, TokenUnavailable
from tests.unit.client.stub_mesh import DEVELOPER, Answer, StubMesh, a_task, unsigned_token


@pytest.fixture
def stub() -> Iterator[StubMesh]:
    with StubMesh() as stub:
        stub.rules["GET /task/task_1"] = Answer(a_task())
        yield stub


def test_the_stack_is_found_from_a_folder_below(
    stub: StubMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.write_stack(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    with MeshClient.from_stack() as mesh:
        assert mesh.task("task_1").task_id == "task_1"


def test_the_nearest_stack_wins(stub: StubMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.write_stack(tmp_path, developer="far@local.test")
    near = stub.write_stack(tmp_path / "near", developer="near@local.test")
    monkeypatch.chdir(near.parent)
    assert Stack.read().developer == "near@local.test"


def test_no_stack_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StackNotFound, match=str(tmp_path)):
        MeshClient.from_stack("no-such-folder/stack.json")


@pytest.mark.parametrize("text", ["", "[]", '{"functions": {}}', "\x00"])
def test_a_file_that_is_no_stack_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    file.write_text(text)
    with pytest.raises(StackUnreadable, match=r"stack\.json"):
        Stack.read(file)


def test_a_role_that_does_not_run_is_told_with_those_that_do(stub: StubMesh, tmp_path: Path) -> None:
    with pytest.raises(StackUnreadable, match=r"'relay'.*orchestrator"):
        Stack.read(stub.write_stack(tmp_path)).function("relay")


def test_calls_go_as_the_developer_for_the_functions_audience_with_one_token(stub: StubMesh, tmp_path: Path) -> None:
    with MeshClient.from_stack(stub.write_stack(tmp_path)) as mesh:
        mesh.task("task_1")
        mesh.task("task_1")
    minted, first, second = stub.asked
    assert minted.query == {"audience": ["orchestrator-audience"], "email": [DEVELOPER]}
    assert first.headers["authorization"] == second.headers["authorization"]
    assert first.headers["authorization"].startswith("Bearer ey")


def test_one_may_be_somebody_else(stub: StubMesh, tmp_path: Path) -> None:
    with MeshClient.from_stack(stub.write_stack(tmp_path), email="stranger@local.test") as mesh:
        mesh.task("task_1")
    assert stub.asked[0].query["email"] == ["stranger@local.test"]


def test_a_token_near_its_end_is_minted_anew(stub: StubMesh, tmp_path: Path) -> None:
    stub.rules["GET /token"] = Answer({"id_token": unsigned_token("a", "e", lifetime_s=100)})
    with MeshClient.from_stack(stub.write_stack(tmp_path)) as mesh:
        mesh.task("task_1")
        mesh.task("task_1")
    assert [asked.path for asked in stub.asked].count("/token") == 2


@pytest.mark.parametrize(
    "answer",
    [Answer("nothing", 500), Answer({}), Answer("[]"), Answer({"id_token": 5}), Answer({"id_token": "no-jwt"})],
)
def test_an_issuer_without_a_token_is_told(answer: Answer, stub: StubMesh, tmp_path: Path) -> None:
    stub.rules["GET /token"] = answer
    with MeshClient.from_stack(stub.write_stack(tmp_path)) as mesh, pytest.raises(TokenUnavailable):
        mesh.task("task_1")


def test_an_issuer_that_is_gone_is_told(stub: StubMesh, tmp_path: Path) -> None:
    gone = {"url": "http://127.0.0.1:9", "tokenUrl": "http://127.0.0.1:9/token"}
    file = stub.write_stack(tmp_path, issuer=gone)
    with MeshClient.from_stack(file) as mesh, pytest.raises(TokenUnavailable, match="refused"):
        mesh.task("task_1")
