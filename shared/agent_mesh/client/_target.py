"""Which mesh is meant, and as whom: one rule for the command line and for scripts.

1. What the caller gives itself (`--url`, `--audience`, `--as`; the arguments of `MeshClient.from_environment`).
2. `AGENT_MESH_URL`, `AGENT_MESH_AUDIENCE`, `AGENT_MESH_AS`.
3. The environment that is named: `--env`, else `AGENT_MESH_ENV`.
4. The local stack, where neither a URL nor an environment is named.

Each of the three values is looked for by itself, so that one can be another than the environment's. An environment
that is named and not stored is an error whatever else is given: the local stack never takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent_mesh.client._environments import LOCAL_STACK, Environment, Environments


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
