"""`login`: a deployed mesh gets a name here, once it is proved that it can be used."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from agent_mesh.cli._checks import Check, check_lines
from agent_mesh.cli._command import add_command
from agent_mesh.cli._deployed import deployed_checks
from agent_mesh.cli._failures import FAILED
from agent_mesh.cli._input import read_text, wrong
from agent_mesh.cli._session import Session
from agent_mesh.client import Environment, Environments, RequestInvalid, Target, environments_file

_NOT_STORED = "Nothing was stored. Begin with the first line that says fail.\nTo store it all the same: --no-check"


class MeshOutput(BaseModel):
    """What `terraform output -json mesh` prints."""

    model_config = ConfigDict(alias_generator=to_camel)

    environment: str
    url: str
    act_as: str
    project: str = ""
    functions: dict[str, str] = Field(default_factory=dict)


class Login(BaseModel):
    """What became of a login."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    environment: str
    stored: bool
    file: str
    checks: list[Check]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "login", login, addressed=False)


def login(  # noqa: PLR0913  # a command's options are its parameters
    session: Session,
    *,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Output of `terraform output -json mesh`; - is stdin."),
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--env", metavar="NAME", help="Its name; default: the one in the file.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="The orchestrator.")] = None,
    identity: Annotated[
        str | None, typer.Option("--as", metavar="EMAIL", help="Service account to act as; you may impersonate it.")
    ] = None,
    audience: Annotated[str | None, typer.Option(help="Audience of the ID token; default: the URL.")] = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Store it without trying it.")] = False,
) -> int:
    """Try a deployed mesh, and store it under a name for --env.

    It is tried with the application-default credentials of this machine,
    which have to be allowed to act as the service account.

    Only addresses are stored, never a token. The local stack stays the default.
    """
    output = _output(source) if source is not None else None
    name = environment or (output.environment if output else None)
    if not name:
        raise wrong("--env", "names the environment; or give --from with Terraform's output, which has its name")
    wanted = _environment(output, {"url": url, "act_as": identity, "audience": audience})
    known = Environments.read()
    updated = known.with_environment(name, wanted)
    checks = [] if no_check else _tried(session, name, wanted)
    proved = all(check.ok for check in checks)
    file = str(updated.write() if proved else environments_file())
    answer = Login(environment=name, stored=proved, file=file, checks=checks)
    session.answer(answer, *check_lines(checks, session.out.width))
    session.say(_stored(name, file, known.environments.get(name), wanted) if proved else _NOT_STORED)
    return 0 if proved else FAILED


def _output(source: str) -> MeshOutput:
    text = read_text(source, "--from")
    try:
        return MeshOutput.model_validate_json(text)
    except ValidationError as error:
        fault = (RequestInvalid.of(error).problem.errors or [])[0]
        message = f"{source} is not what `terraform output -json mesh` prints: {fault.field}: {fault.message}"
        raise wrong("--from", message) from error


def _environment(output: MeshOutput | None, given: dict[str, str | None]) -> Environment:
    """Return Terraform's values with what was given by hand in their place."""
    fields = output.model_dump(exclude={"environment"}) if output else {}
    fields |= {name: value for name, value in given.items() if value is not None}
    if "url" not in fields:
        raise wrong("--url", "names the orchestrator; or give --from with Terraform's output, which has it")
    try:
        return Environment.model_validate(fields)
    except ValidationError as error:
        raise RequestInvalid.of(error) from error


def _tried(session: Session, name: str, environment: Environment) -> list[Check]:
    with session.busy(f"trying {name}"):
        return list(deployed_checks(Target.of(environment)))


def _stored(name: str, file: str, before: Environment | None, now: Environment) -> str:
    replaced = f", in place of {before.url}" if before is not None and before.url != now.url else ""
    return (
        f"{name} is stored in {file}{replaced}.\n"
        f"Use it with --env {name}, or in this whole shell: export AGENT_MESH_ENV={name}\n"
        "Without either, commands still go to the local stack."
    )
