"""`login`, with the real google-auth and a stand-in for Google."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from agent_mesh.cli._login import MeshOutput
from agent_mesh.client import environments_file
from agent_mesh.contracts.problems import Forbidden, Unauthenticated
from agent_mesh.version import VERSION
from tests.unit.cli.conftest import Outcome, Run
from tests.unit.cli.stored import CHECKS, bearer, failures, stored, terraform_output
from tests.unit.client.stub_google import MINTING, OPERATOR, google_refusal
from tests.unit.client.stub_mesh import Answer, StubMesh, refusal

ROOT = Path(__file__).parents[3]


def try_login(run: Run, mesh: StubMesh) -> Outcome:
    return run("login", "--env", "prod", "--url", mesh.url, "--as", OPERATOR, "--json")


def test_terraforms_output_is_all_that_a_login_needs(mesh: StubMesh, run: Run, tmp_path: Path) -> None:
    (tmp_path / "mesh.json").write_text(terraform_output(mesh.url))
    done = run("login", "--from", "mesh.json", "--json")
    answer = json.loads(done.out)
    assert (done.code, done.err, answer["stored"]) == (0, "", True)
    assert [check["name"] for check in answer["checks"]] == CHECKS
    assert stored() == {"prod": {"url": mesh.url, "actAs": OPERATOR, "project": "my-project"}}
    listed = [asked for asked in mesh.asked if asked.path == "/tasks"]
    assert [bearer(asked) for asked in listed] == [{"aud": mesh.url, "email": OPERATOR}]


def test_it_may_come_through_a_pipe_and_get_another_name(mesh: StubMesh, run: Run) -> None:
    done = run("login", "--from", "-", "--env", "live", "--audience", "other", stdin=terraform_output(mesh.url))
    assert done.code == 0
    assert stored()["live"]["audience"] == "other"
    assert "--env live" in done.err


def test_a_login_says_that_the_local_stack_stays_the_default(mesh: StubMesh, run: Run) -> None:
    done = run("login", "--env", "prod", "--url", mesh.url, "--as", OPERATOR)
    assert done.code == 0
    assert "still go to the local stack" in done.err
    assert json.loads(run("tasks", "--json").err)["code"] == "stack_not_found"


def test_the_file_is_its_owners_alone_and_has_no_token(prod: StubMesh, run: Run) -> None:
    run("tasks", "--env", "prod")
    assert stat.S_IMODE(environments_file().stat().st_mode) == 0o600
    assert list(environments_file().parent.iterdir()) == [environments_file()]
    token = prod.asked[-1].headers["authorization"].removeprefix("Bearer ")
    assert token not in environments_file().read_text()


def test_variables_are_for_the_other_commands_and_change_no_login(
    prod: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_MESH_ENV", "prod")
    monkeypatch.setenv("AGENT_MESH_URL", "https://elsewhere.example.com")
    before = stored()["prod"]
    assert run("login", "--from", "-", "--no-check", stdin=terraform_output(prod.url, environment="dev")).code == 0
    assert (stored()["prod"], stored()["dev"]["url"]) == (before, prod.url)


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (["--env", "prod"], "", "--url"),
        (["--url", "https://x.example.com"], "", "--env"),
        (["--from", "no-such-file"], "", "--from: cannot be read"),
        (["--from", "-"], "", "terraform output -json mesh"),
        (["--from", "-"], '{"mesh": {"value": {}}}', "terraform output -json mesh"),
        (["--from", "-"], terraform_output("http://x.example.com"), "has to be https"),
        (["--from", "-"], terraform_output("https://me:secret@x.example.com"), "may have no password"),
        (["--from", "-"], terraform_output("x.example.com"), "no http(s) address"),
        (["--from", "-"], terraform_output("https://x.example.com", environment="local"), "the local stack's name"),
        (["--from", "-", "--env", "a b"], terraform_output("https://x.example.com"), "'a b' is no name"),
        (["--from", "-", "--as", "ana@example.com"], terraform_output("https://x.example.com"), "service account"),
    ],
)
def test_what_cannot_be_stored_is_exit_code_2(
    words: list[str], stdin: str, said: str, mesh: StubMesh, run: Run
) -> None:
    done = run("login", *words, stdin=stdin)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not environments_file().exists()
    assert mesh.asked == []


DENIED = "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist)."
DISABLED = "IAM Service Account Credentials API has not been used in project 5 before or it is disabled."


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (
            google_refusal(403, DENIED, "IAM_PERMISSION_DENIED"),
            [
                "roles/iam.serviceAccountOpenIdTokenCreator on " + OPERATOR,
                "add user:YOUR-EMAIL to `operators` of the Terraform variables",
            ],
        ),
        (
            google_refusal(403, DISABLED, "SERVICE_DISABLED"),
            ["gcloud services enable iamcredentials.googleapis.com", "set-quota-project my-project"],
        ),
        (
            google_refusal(403, "Request had insufficient authentication scopes.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
            ["scope cloud-platform", "gcloud auth application-default login"],
        ),
        (
            google_refusal(404, "Not found; Gaia id not found for email x", "NOT_FOUND"),
            ["knows no account " + OPERATOR],
        ),
    ],
    ids=["may not impersonate", "API disabled", "too few scopes", "no such account"],
)
def test_what_google_refuses_is_told_with_what_to_do(
    answer: Answer, advice: list[str], mesh: StubMesh, run: Run
) -> None:
    mesh.rules[MINTING] = answer
    done = try_login(run, mesh)
    assert done.code == 1
    assert list(failures(done)) == ["identity"]
    assert [words for words in advice if words not in failures(done)["identity"]] == []
    assert not environments_file().exists()


def test_credentials_that_were_revoked_are_to_be_made_anew(mesh: StubMesh, run: Run) -> None:
    mesh.rules["POST /token"] = Answer({"error": "invalid_grant", "error_description": "Token revoked."}, 400)
    assert "gcloud auth application-default login" in failures(try_login(run, mesh))["identity"]


def test_no_credentials_are_to_be_made(
    mesh: StubMesh, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "empty"))
    found = failures(try_login(run, mesh))
    assert list(found) == ["credentials"]
    assert "gcloud auth application-default login" in found["credentials"]


def test_gclouds_own_file_serves_without_asking_gcloud(
    mesh: StubMesh, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    gcloud.chmod(0o755)
    (tmp_path / "own.json").rename(tmp_path / "application_default_credentials.json")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert try_login(run, mesh).code == 0
    assert not (tmp_path / "asked").exists()


def test_a_variable_that_names_no_credentials_is_told(
    mesh: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
    assert (
        "GOOGLE_APPLICATION_CREDENTIALS unset: it names /no/such/key.json"
        in (failures(try_login(run, mesh))["credentials"])
    )


def test_a_google_that_cannot_be_reached_is_told(mesh: StubMesh, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth.iam._IAM_IDTOKEN_ENDPOINT", "http://127.0.0.1:9/{}")
    assert "Google cannot be reached" in failures(try_login(run, mesh))["identity"]


@pytest.mark.parametrize(
    ("path", "answer", "check", "advice"),
    [
        ("/health", Answer("<html>Forbidden", 403), "orchestrator", "needs roles/run.invoker"),
        ("/health", Answer("<html>Unauthorized", 401), "orchestrator", "before the mesh sees it"),
        ("/health", Answer("<html>Not found", 404), "orchestrator", "Nothing is deployed at this address"),
        ("/health", Answer("<html>Sign in"), "orchestrator", "Identity-Aware Proxy"),
        ("/health", Answer({"status": "ok", "role": "digest", "version": VERSION}), "orchestrator", "not the orch"),
        (
            "/health",
            Answer({"status": "ok", "role": "orchestrator", "version": "9.0"}),
            "version",
            "agent-mesh 9.0 here",
        ),
        ("/tasks", refusal(Forbidden("no")), "token", f"{OPERATOR} is in no allow-list"),
        ("/tasks", refusal(Unauthenticated("no")), "token", "OIDC_AUDIENCE has to name the audience http"),
    ],
)
def test_a_refusal_of_google_is_told_from_one_of_the_mesh(
    path: str, answer: Answer, check: str, advice: str, mesh: StubMesh, run: Run
) -> None:
    mesh.rules[f"GET {path}"] = answer
    done = try_login(run, mesh)
    assert (done.code, list(failures(done))) == (1, [check])
    assert advice in failures(done)[check]
    assert not environments_file().exists()


def test_a_clock_that_is_wrong_is_found_without_a_token(mesh: StubMesh, run: Run) -> None:
    mesh.rules["GET /health"] = Answer("", 403, {"Date": "Fri, 20 Nov 2020 09:00:00 GMT"})
    mesh.rules[MINTING] = google_refusal(403, DENIED, "IAM_PERMISSION_DENIED")
    assert list(failures(try_login(run, mesh))) == ["clock", "identity"]


def test_an_address_where_nobody_is_is_told_beside_the_rest(mesh: StubMesh, run: Run) -> None:
    done = run("login", "--env", "prod", "--url", "http://127.0.0.1:9", "--as", OPERATOR, "--json")
    assert list(failures(done)) == ["address"]
    assert [check["name"] for check in json.loads(done.out)["checks"]] == ["address", "credentials", "identity"]


def test_a_failed_login_leaves_what_was_stored_and_says_how_to_store_it_all_the_same(prod: StubMesh, run: Run) -> None:
    before = stored()
    done = run("login", "--env", "prod", "--url", "http://127.0.0.1:9", "--as", OPERATOR)
    assert "--no-check" in done.err
    assert stored() == before
    again = run("login", "--env", "prod", "--url", "http://127.0.0.1:9", "--as", OPERATOR, "--no-check")
    assert f"in place of {prod.url}" in again.err
    assert stored()["prod"]["url"] == "http://127.0.0.1:9"


def test_terraforms_output_has_the_fields_that_login_reads() -> None:
    outputs = (ROOT / "infra" / "terraform" / "outputs.tf").read_text(encoding="utf-8")
    block = re.search(r'output "mesh" \{.*?value = \{(.*?)\n  \}', outputs, flags=re.DOTALL)
    assert block is not None
    written = set(re.findall(r"^ +(\w+) +=", block[1], flags=re.MULTILINE))
    assert written == {field.alias for field in MeshOutput.model_fields.values()}
