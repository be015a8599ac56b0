from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_mesh.client import (
    Environment,
    Environments,
    EnvironmentsUnreadable,
    EnvironmentUnknown,
    MeshClient,
    RequestInvalid,
    Target,
    environments_file,
    find_target,
)
from tests.unit.client.stub_mesh import Answer, StubMesh, a_task

PROD = Environment(url="https://prod.example.com/mesh", act_as="op@project.iam.gserviceaccount.com")
DEV = Environment(url="https://dev.example.com", audience="dev-audience")


class FixedTokens:
    """Gives the audience itself as its token."""

    def token(self, audience: str) -> str:
        return f"token-for-{audience}"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, where `prod` and `dev` are stored."""
    for name in ("AGENT_MESH_ENV", "AGENT_MESH_URL", "AGENT_MESH_AUDIENCE", "AGENT_MESH_AS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    Environments().with_environment("prod", PROD).with_environment("dev", DEV).write()
    return tmp_path / "config"


@pytest.fixture
def stub() -> Iterator[StubMesh]:
    with StubMesh() as stub:
        stub.rules["GET /task/task_1"] = Answer(a_task())
        yield stub


def test_what_is_written_is_read_and_is_the_owners_alone(config: Path) -> None:
    assert Environments.read().environments == {"prod": PROD, "dev": DEV}
    file = config / "agent-mesh" / "environments.json"
    assert environments_file() == file
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)


def test_a_link_to_the_file_stays_a_link(config: Path, tmp_path: Path) -> None:
    kept = environments_file().rename(tmp_path / "kept.json")
    environments_file().symlink_to(kept)
    Environments.read().without("dev").write()
    assert environments_file().is_symlink()
    assert list(Environments.read().environments) == ["prod"]


def test_a_write_that_fails_leaves_the_file_and_nothing_else(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EnvironmentsUnreadable, match=r"environments\.json cannot be written: No space left"):
        Environments().write()
    assert Environments.read().named("prod") == PROD
    assert [path.name for path in (config / "agent-mesh").iterdir()] == ["environments.json"]


def test_no_file_is_no_environment() -> None:
    environments_file().unlink()
    with pytest.raises(EnvironmentUnknown, match="stored: none"):
        Environments.read().named("prod")


def test_a_file_that_cannot_be_read_is_named() -> None:
    environments_file().unlink()
    environments_file().mkdir()
    with pytest.raises(EnvironmentsUnreadable, match=r"environments\.json cannot be read: Is a directory"):
        Environments.read()


def test_a_fault_in_the_file_is_told_with_its_place() -> None:
    environments_file().write_text('{"environments": {"prod": {"url": "http://prod.example.com"}}}')
    with pytest.raises(EnvironmentsUnreadable, match=r"environments\.prod\.url: has to be https"):
        Environments.read()


@pytest.mark.parametrize("name", ["local", "", "a b", "-x", "../x", "x" * 64])
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(RequestInvalid, match="name"):
        Environments().with_environment(name, PROD)


@pytest.mark.parametrize(
    ("configured", "appdata", "platform", "expected"),
    [
        ("", "", "linux", "{home}/.config"),
        ("relative", "", "darwin", "{home}/.config"),
        ("", "/appdata", "win32", "/appdata"),
        ("/xdg", "/appdata", "win32", "/xdg"),
        ("", "/appdata", "linux", "{home}/.config"),
    ],
)
def test_the_file_stands_where_its_platform_has_such_files(
    configured: str, appdata: str, platform: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", configured)
    monkeypatch.setenv("APPDATA", appdata)
    monkeypatch.setattr("sys.platform", platform)
    assert environments_file() == Path(expected.format(home=Path.home())) / "agent-mesh" / "environments.json"


def test_no_environment_and_no_url_is_the_local_stack() -> None:
    assert find_target(None, audience="a", account="b@local.test") is None
    assert find_target("local") is None


@pytest.mark.parametrize(
    ("environment", "given", "target"),
    [
        ("prod", {}, Target(PROD.url, PROD.url, PROD.act_as)),
        ("dev", {}, Target(DEV.url, "dev-audience", "")),
        ("prod", {"account": "x@y"}, Target(PROD.url, PROD.url, "x@y")),
        ("dev", {"audience": "z"}, Target(DEV.url, "z", "")),
        ("dev", {"url": DEV.url + "/"}, Target(DEV.url, "dev-audience", "")),
        ("dev", {"url": "https://b.example.com"}, Target("https://b.example.com", "https://b.example.com", "")),
        (None, {"url": "https://b.example.com/"}, Target("https://b.example.com/", "https://b.example.com", "")),
        ("local", {"url": "https://b.example.com"}, Target("https://b.example.com", "https://b.example.com", "")),
    ],
)
def test_each_value_is_looked_for_by_itself(environment: str | None, given: dict[str, str], target: Target) -> None:
    assert find_target(environment, **given) == target


def test_an_unknown_name_is_told_with_those_that_are_like_it() -> None:
    with pytest.raises(EnvironmentUnknown, match=r"'prdo' is stored; stored: dev, prod\. Did you mean 'prod'\?"):
        find_target("prdo", url="https://b.example.com")


def test_a_script_speaks_to_an_environment_by_name(stub: StubMesh) -> None:
    Environments().with_environment("near", Environment(url=stub.url, audience="a")).write()
    with MeshClient.from_environment("near", tokens=FixedTokens()) as mesh:
        mesh.task("task_1")
    assert stub.asked[-1].headers["authorization"] == "Bearer token-for-a"


def test_a_script_follows_the_variables_as_the_command_does(stub: StubMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    Environments().with_environment("near", Environment(url="https://near.example.com", audience="a")).write()
    monkeypatch.setenv("AGENT_MESH_ENV", "near")
    monkeypatch.setenv("AGENT_MESH_URL", stub.url)
    with MeshClient.from_environment(tokens=FixedTokens()) as mesh:
        mesh.task("task_1")
    assert stub.asked[-1].headers["authorization"] == f"Bearer token-for-{stub.url}"
    with pytest.raises(EnvironmentUnknown):
        MeshClient.from_environment("far")


def test_a_name_that_a_script_gives_comes_before_the_variables(stub: StubMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    Environments().with_environment("near", Environment(url=stub.url, audience="a")).write()
    monkeypatch.setenv("AGENT_MESH_URL", "https://elsewhere.example.com")
    monkeypatch.setenv("AGENT_MESH_AUDIENCE", "elsewhere")
    with MeshClient.from_environment("near", tokens=FixedTokens()) as mesh:
        mesh.task("task_1")
    assert stub.asked[-1].headers["authorization"] == "Bearer token-for-a"


def test_a_script_without_a_name_speaks_to_the_local_stack(
    stub: StubMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.write_stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    with MeshClient.from_environment(identity="somebody@local.test") as mesh:
        mesh.task("task_1")
    assert stub.asked[0].query["email"] == ["somebody@local.test"]
