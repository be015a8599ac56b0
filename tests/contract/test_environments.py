"""A stored environment against the real functions: google-auth asks a stand-in, which mints with the local issuer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent_mesh.cli._app import app
from agent_mesh.client import MeshClient, Stack
from agent_mesh.contracts.tasks import TaskStatus
from emulator.stack import LocalStack
from tests.unit.client.stub_google import stand_in_for_google
from tests.unit.client.stub_mesh import StubMesh

pytestmark = pytest.mark.stack

STRANGER = "stranger@mesh-local.iam.gserviceaccount.com"

Command = Callable[..., Result]


@pytest.fixture
def addresses(stack: LocalStack, stack_place: Path) -> Stack:
    """What the running stack says of itself."""
    assert stack.pids()
    return Stack.read(stack_place / ".mesh" / "stack.json")


@pytest.fixture
def command(addresses: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """The command on a machine that may act as the developer and as a stranger, far from any stack.json."""
    for name in ("AGENT_MESH_ENV", "AGENT_MESH_URL", "AGENT_MESH_AUDIENCE", "AGENT_MESH_AS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with StubMesh() as google:
        for account in (addresses.developer, STRANGER):
            stand_in_for_google(google, tmp_path, monkeypatch, account=account, mint=_issued(addresses))
        yield lambda *words, stdin="": CliRunner().invoke(app, [*words, "--json"], input=stdin)


def _issued(addresses: Stack) -> Callable[[str, str], str]:
    return lambda audience, account: addresses.tokens(account).token(audience)


def output(addresses: Stack, account: str) -> str:
    url = addresses.function("orchestrator").url
    return json.dumps({"project": "p", "environment": "prod", "url": url, "actAs": account})


def log_in(command: Command, addresses: Stack, account: str) -> Result:
    audience = addresses.function("orchestrator").audience
    return command("login", "--from", "-", "--audience", audience, stdin=output(addresses, account))


def test_from_terraforms_output_to_a_result(addresses: Stack, command: Command) -> None:
    proved = log_in(command, addresses, addresses.developer)
    assert proved.exit_code == 0, proved.stdout
    done = command("dispatch", "light", "--env", "prod", "--payload", '{"n": 1}')
    assert json.loads(done.stdout)["caller"] == addresses.developer
    assert command("doctor", "--env", "prod").exit_code == 0
    with MeshClient.from_environment("prod") as mesh:
        assert mesh.task(json.loads(done.stdout)["taskId"]).status is TaskStatus.SUCCEEDED


def test_an_account_that_the_mesh_does_not_know_is_told_so(addresses: Stack, command: Command) -> None:
    refused = log_in(command, addresses, STRANGER)
    assert refused.exit_code == 1
    failed = [check for check in json.loads(refused.stdout)["checks"] if not check["ok"]]
    assert [check["name"] for check in failed] == ["token"]
    assert f"{STRANGER} is in no allow-list of the orchestrator" in failed[0]["next"]
