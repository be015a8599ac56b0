"""Which mesh is meant, and as whom: one rule for the command line and for scripts.

1. What the caller gives itself: `--url`, `--env`, or the arguments of `MeshClient.from_environment`.
2. `AGENT_MESH_ENV`; `AGENT_MESH_URL` and `AGENT_MESH_AUDIENCE`, unless the caller gives a URL or an environment.
3. The local stack, where none of these names a mesh.

A URL comes before an environment of the same rank, which still says as whom. The audience and the account
(`--audience`, `--as`, `AGENT_MESH_AS`) can be others than the environment's. An environment that is named and not
stored is an error whatever else is given: the local stack never takes its place.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

from agent_mesh.client._environments import LOCAL_STACK, Environment, Environments
from agent_mesh.client._errors import RequestInvalid
from agent_mesh.contracts.problems import FieldFault


@dataclass(frozen=True, slots=True)
class Target:
    """A deployed mesh, and the service account to act as there; an empty one is what the process runs as."""

    url: str
    audience: str
    account: str = ""

    @classmethod
    def of(cls, environment: Environment) -> Target:
        """Return where an environment leads."""
        return cls(environment.url, environment.audience or environment.url, environment.act_as)


_ORCHESTRATOR = "orchestrator"


class Choice(NamedTuple):
    """What names a mesh and an identity there; None where nobody says."""

    environment: str | None
    url: str | None
    audience: str | None
    account: str | None


def choose_target(
    environment: str | None = None, *, url: str | None = None, audience: str | None = None, account: str | None = None
) -> Choice:
    """Return what the caller gives, completed by the variables of the environment."""
    addressed = bool(url) or environment is not None
    return Choice(
        environment=_variable("AGENT_MESH_ENV") if environment is None else environment,
        url=url or (None if addressed else _variable("AGENT_MESH_URL")),
        audience=audience or (None if addressed else _variable("AGENT_MESH_AUDIENCE")),
        account=account or _variable("AGENT_MESH_AS"),
    )


def _variable(name: str) -> str | None:
    return os.environ.get(name) or None


def role_url(orchestrator_url: str, role: str) -> str:
    """Return the address of another role of the mesh: functions are named alike, ending in the role.

    An address that names this role already is its own. Raises `RequestInvalid` where it names neither.
    """
    named = role.replace("_", "-")
    before, found, after = orchestrator_url.rpartition(_ORCHESTRATOR)
    if not found and named in orchestrator_url:
        return orchestrator_url
    if not found:
        fault = f"does not name the {_ORCHESTRATOR}, so that nobody knows where the {role} of this mesh is"
        raise RequestInvalid([FieldFault(field="url", message=fault)])
    return before + named + after


def find_target(
    environment: str | None, *, url: str | None = None, audience: str | None = None, account: str | None = None
) -> Target | None:
    """Return the deployed mesh that is meant, None for the local stack.

    Another URL than the environment's is another server: the environment's audience is not for it.
    Raises `EnvironmentUnknown` and `EnvironmentsUnreadable`.
    """
    stored = (
        None if environment is None or environment == LOCAL_STACK else Target.of(Environments.read().named(environment))
    )
    if url is not None and (stored is None or url.rstrip("/") != stored.url):
        stored = Target(url, url.rstrip("/"), stored.account if stored else "")
    if stored is None:
        return None
    return Target(stored.url, audience or stored.audience, stored.account if account is None else account)
