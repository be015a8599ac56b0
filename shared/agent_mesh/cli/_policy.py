"""`policy`: the rules by which the mesh decides, their versions, and what they say of an intent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from agent_mesh.cli._command import add_command
from agent_mesh.cli._failures import FAILED
from agent_mesh.cli._input import read_text, wrong
from agent_mesh.cli._session import Session
from agent_mesh.client import RequestInvalid, RoleClient
from agent_mesh.contracts.policy import AccessIntent, ExplainAnswer, PolicyChange, PolicyState, PolicyVersion

if TYPE_CHECKING:  # it need not be there for the commands that speak to the mesh
    from agent_mesh.policy import Bundle

ROLE: Final = "policy"
_NAME: Final = "mesh"
_PACKAGED: Final = "packaged"
_SHORTEST: Final = 6

_Version = Annotated[
    str, typer.Argument(metavar="VERSION", help="`packaged`, or the first 6 or more digits of a version.")
]
_Revision = Annotated[int | None, typer.Option(min=0, help="Change nothing unless this is the revision still.")]
_Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder with manifest.json, the rules and their tests.", exists=True)
]


class TestRun(BaseModel):
    """How the tests of a folder went."""

    __test__ = False
    model_config = ConfigDict(frozen=True)

    version: str
    passed: int
    failed: dict[str, str]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(name=ROLE, help="See and change the rules by which the mesh decides.", no_args_is_help=True)
    add_command(group, "list", list_versions)
    add_command(group, "push", push)
    add_command(group, "shadow", shadow)
    add_command(group, "unshadow", unshadow)
    add_command(group, "activate", activate)
    add_command(group, "rollback", rollback)
    add_command(group, "explain", explain)
    add_command(group, "test", run_tests, addressed=False)
    app.add_typer(group)


def list_versions(session: Session) -> None:
    """Show which version is in force, and which there are."""
    _show(session, session.policy.get("/policies", PolicyState))


def push(session: Session, folder: _Folder) -> None:
    """Upload a bundle; the mesh takes it if its tests pass there. It decides nothing yet."""
    from agent_mesh.cli._policy_view import short_version

    version = session.policy.post("/policies", PolicyVersion, _read(folder))
    session.answer(version, f"{version.version}  release {version.release}, {version.tests} tests passed")
    session.say(f"Compare it with what is in force: agent-mesh policy shadow {short_version(version.version)}")


def shadow(session: Session, version: _Version, *, revision: _Revision = None) -> None:
    """Compare a version with the one in force, on what is really asked and without effect."""
    client = session.policy
    path = f"/policies/{_resolved(client, version)}/shadow"
    _show(session, client.post(path, PolicyState, PolicyChange(revision=revision)))
    session.say("Differences are events: mesh.policy.differs.")


def unshadow(session: Session, *, revision: _Revision = None) -> None:
    """Compare no version any more."""
    _show(session, session.policy.post("/policies/unshadow", PolicyState, PolicyChange(revision=revision)))


def activate(session: Session, version: _Version, *, revision: _Revision = None) -> None:
    """Bring a version into force."""
    client = session.policy
    path = f"/policies/{_resolved(client, version)}/activate"
    _show(session, client.post(path, PolicyState, PolicyChange(revision=revision)))
    session.say("Every instance decides by it within MESH_POLICY_STALENESS_SECONDS. Back: agent-mesh policy rollback")


def rollback(session: Session, *, revision: _Revision = None) -> None:
    """Bring the version before the last activation into force again."""
    _show(session, session.policy.post("/policies/rollback", PolicyState, PolicyChange(revision=revision)))


def explain(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON file with one intent; - is stdin.")],
) -> None:
    """Show which rules an intent meets, and why those fail that do; nothing is recorded."""
    from agent_mesh.cli._policy_view import explained

    try:
        intent = AccessIntent.model_validate_json(read_text(file, "FILE"))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise wrong("FILE", f"is not one JSON document: {first['msg']}") from error
        raise RequestInvalid.of(error) from error
    answer = session.policy.post("/evaluate/explain", ExplainAnswer, intent)
    session.answer(answer, *explained(answer))


def run_tests(session: Session, folder: _Folder) -> int:
    """Run the tests of a bundle here, as the mesh would before it takes it."""
    from agent_mesh.policy.errors import BundleRefused
    from agent_mesh.policy.rehearsal import rehearse

    bundle = _read(folder)
    try:
        reports = rehearse(bundle)
    except BundleRefused as refused:
        raise wrong("DIR", str(refused)) from refused
    failed = {report.name: report.fault for report in reports if not report.passed}
    run = TestRun(version=bundle.version, passed=len(reports) - len(failed), failed=failed)
    lines = [f"FAILED {test}: {fault}" for test, fault in failed.items()]
    session.answer(run, *lines, f"{run.passed} passed, {len(failed)} failed: {bundle.version}")
    return FAILED if failed or not reports else 0


def _read(folder: Path) -> Bundle:
    from agent_mesh.policy.bundles import read_bundle
    from agent_mesh.policy.errors import BundleRefused

    try:
        return read_bundle(_NAME, folder)
    except (BundleRefused, OSError, UnicodeDecodeError) as error:
        raise wrong("DIR", str(error)) from error


def _resolved(client: RoleClient, version: str) -> str:
    """Return the whole of a version that is given by its first digits; raise `RequestInvalid` unless there is one."""
    digits = version.removeprefix("sha256:")
    if version == _PACKAGED or len(digits) == 64:  # noqa: PLR2004 - hex digits of SHA-256
        return version if version == _PACKAGED else f"sha256:{digits}"
    if len(digits) < _SHORTEST:
        raise wrong("VERSION", f"{version!r} is too short: give {_SHORTEST} digits or more")
    known = [one.version for one in client.get("/policies", PolicyState).versions]
    found = [one for one in known if one.removeprefix("sha256:").startswith(digits)]
    if len(found) != 1:
        raise wrong("VERSION", f"{version!r} begins {len(found)} of the {len(known)} latest versions")
    return found[0]


def _show(session: Session, state: PolicyState) -> None:
    from agent_mesh.cli._policy_view import state_view

    session.answer(state, *state_view(state))
