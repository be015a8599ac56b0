"""`--env`, `environments`, `logout`, and the commands that go to a stored environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_mesh.client import environments_file
from agent_mesh.contracts.problems import Forbidden
from agent_mesh.contracts.tasks import TaskStatus
from tests.unit.cli.conftest import Run
from tests.unit.cli.stored import CHECKS, bearer, failures, stored, terraform_output
from tests.unit.client.stub_google import MINTING, OPERATOR
from tests.unit.client.stub_mesh import Answer, StubMesh, a_task, refusal


def test_commands_go_to_the_environment_as_its_account(prod: StubMesh, run: Run) -> None:
    prod.rules["GET /task/task_1"] = Answer(a_task())
    assert json.loads(run("task", "task_1", "--env", "prod", "--json").out)["taskId"] == "task_1"
    assert bearer(prod.asked[-1]) == {"aud": prod.url, "email": OPERATOR}


def test_the_variable_names_the_environment_and_the_option_another(
    prod: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_MESH_ENV", "prod")
    assert run("tasks").code == 0
    assert run("tasks", "--env", "local").code == 3
    assert "'dev' is stored; stored: prod" in run("tasks", "--env", "dev").err


def test_single_values_come_before_the_environments(prod: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "other@my-project.iam.gserviceaccount.com"
    prod.rules[f"POST /{other}:generateIdToken"] = prod.rules[MINTING]
    assert run("tasks", "--env", "prod", "--as", other, "--audience", "x").code == 0
    assert [asked.path for asked in prod.asked if "generateIdToken" in asked.path] == [f"/{other}:generateIdToken"]
    assert bearer(prod.asked[-1])["aud"] == "x"
    monkeypatch.setenv("AGENT_MESH_AS", other)
    run("tasks", "--env", "prod")
    assert prod.asked[-2].path == f"/{other}:generateIdToken"


def test_another_url_gets_no_token_for_the_environments_audience_and_is_told(
    mesh: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("login", "--from", "-", "--audience", "a", "--no-check", stdin=terraform_output("https://x.example.com"))
    done = run("tasks", "--env", "prod", "--url", mesh.url)
    assert bearer(mesh.asked[-1]) == {"aud": mesh.url, "email": OPERATOR}
    assert f"Going to {mesh.url}: a URL comes before the environment prod." in done.err
    monkeypatch.setenv("AGENT_MESH_ENV", "prod")
    monkeypatch.setenv("AGENT_MESH_URL", mesh.url)
    assert f"Going to {mesh.url}" in run("tasks").err


def test_an_option_comes_before_the_variables(prod: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MESH_URL", "https://elsewhere.example.com")
    monkeypatch.setenv("AGENT_MESH_AUDIENCE", "elsewhere")
    assert run("tasks", "--env", "prod").code == 0
    assert bearer(prod.asked[-1]) == {"aud": prod.url, "email": OPERATOR}
    assert run("tasks", "--url", prod.url, "--as", OPERATOR).code == 0
    assert bearer(prod.asked[-1])["aud"] == prod.url
    assert run("tasks", "--env", "local").code == 3


@pytest.mark.parametrize("more", [[], ["--url", "https://x.example.com"]])
def test_an_unknown_environment_never_becomes_the_local_stack(
    more: list[str], prod: StubMesh, run: Run, tmp_path: Path
) -> None:
    prod.write_stack(tmp_path)
    done = run("dispatch", "light", "--env", "prdo", *more)
    assert (done.code, done.out) == (2, "")
    assert "No environment 'prdo' is stored; stored: prod. Did you mean 'prod'?" in done.err
    assert prod.calls() == []


def test_an_empty_name_is_none_that_is_stored(prod: StubMesh, run: Run) -> None:
    assert json.loads(run("tasks", "--env", "", "--json").err)["code"] == "environment_unknown"


@pytest.mark.parametrize(
    "text", ["", "[]", "\x00", '{"environments": {"prod": {}}}', '{"environments": {"local": {"url": "https://x.y"}}}']
)
def test_a_file_that_is_broken_is_named(text: str, mesh: StubMesh, run: Run) -> None:
    environments_file().parent.mkdir(parents=True)
    environments_file().write_text(text)
    for words in (["tasks", "--env", "prod"], ["environments"], ["logout", "prod"]):
        done = run(*words)
        assert (done.code, done.out) == (3, "")
        assert str(environments_file()) in done.err
    assert run("login", "--from", "-", "--no-check", stdin=terraform_output(mesh.url)).code == 3
    assert environments_file().read_text() == text


def test_hints_lead_to_the_same_mesh(prod: StubMesh, run: Run) -> None:
    prod.rules["POST /dispatch"] = Answer(a_task(status=TaskStatus.ACCEPTED), 202)
    done = run("dispatch", "light", "--mode", "pubsub", "--env", "prod")
    assert "agent-mesh tail --env prod task_1" in done.err


def test_the_list_marks_where_commands_go(prod: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("environments").out.startswith("* local ")
    monkeypatch.setenv("AGENT_MESH_ENV", "prod")
    assert f"* prod          {prod.url}" in run("environments").out
    answer = json.loads(run("environments", "--json").out)
    assert [(each["name"], each["default"], each["actAs"]) for each in answer["environments"]] == [
        ("prod", True, OPERATOR)
    ]
    monkeypatch.setenv("AGENT_MESH_ENV", "dev")
    monkeypatch.setenv("AGENT_MESH_URL", "https://x.example.com")
    said = run("environments").err
    assert "'dev', which is not stored" in said
    assert "commands without --env and --url go to https://x.example.com" in said


def test_logout_forgets_one(prod: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("login", "--from", "-", "--env", "dev", "--no-check", stdin=terraform_output(prod.url))
    monkeypatch.setenv("AGENT_MESH_ENV", "prod")
    done = run("logout", "prod")
    assert "unset AGENT_MESH_ENV" in done.err
    assert list(stored()) == ["dev"]
    assert run("logout", "prod").code == 2


def test_token_prints_one_for_the_environments_orchestrator_alone(prod: StubMesh, run: Run) -> None:
    done = run("token", "orchestrator", "--env", "prod", "--json")
    answer = json.loads(done.out)
    assert (answer["url"], answer["audience"]) == (prod.url, prod.url)
    assert run("token", "orchestrator", "--env", "prod").out.count("\n") == 1
    refused = run("token", "digest", "--env", "prod")
    assert refused.code == 2
    assert "give --url of the digest too" in refused.err
    other = run("token", "digest", "--env", "prod", "--url", "https://digest.example.com", "--json")
    assert json.loads(other.out)["audience"] == "https://digest.example.com"


def test_doctor_checks_an_environment_link_by_link(prod: StubMesh, run: Run) -> None:
    done = run("doctor", "--env", "prod", "--json")
    assert (done.code, [check["name"] for check in json.loads(done.out)["checks"]]) == (0, ["python", *CHECKS])
    prod.rules["GET /tasks"] = refusal(Forbidden("no"))
    assert list(failures(run("doctor", "--env", "prod", "--json"))) == ["token"]
    assert "→ The mesh itself refuses it" in run("doctor", "--env", "prod").out


def test_what_a_process_runs_as_needs_no_credentials_of_a_person(
    mesh: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    done = run("doctor", "--url", mesh.url, "--json")
    assert list(failures(done)) == ["identity"]
    assert "name a service account to impersonate" in failures(done)["identity"]


def test_a_refusal_of_google_leads_to_doctor(prod: StubMesh, run: Run) -> None:
    prod.rules["GET /tasks"] = Answer("<html>Forbidden", 403)
    assert "agent-mesh doctor --env prod" in run("tasks", "--env", "prod").err
