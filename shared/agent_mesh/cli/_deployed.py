"""Whether a deployed mesh can be used from here: each link of the chain by itself, from the network to the mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from agent_mesh.cli._checks import Check, clock_check
from agent_mesh.client import (
    GoogleTokens,
    MeshClient,
    MeshClientError,
    PooledTransport,
    Request,
    Target,
)
from agent_mesh.version import VERSION

_TIMEOUT_S: Final = 30.0  # a cold start is over by then
_REACHING_S: Final = 10.0

_REFUSALS: Final = {
    "http_401": "Google refuses the token before the mesh sees it: its audience has to be the orchestrator's URL, "
    "and this machine's clock right.",
    "http_403": "Google refuses it before the mesh sees it: {account} needs roles/run.invoker on the orchestrator. "
    "`terraform apply` gives it to the operator account and to every e-mail in `callers`.",
    "http_404": "Nothing is deployed at this address, or its ingress is closed from here. Compare it with `url` of "
    "`terraform output -json mesh`.",
    "unauthenticated": "The mesh itself refuses the token: its OIDC_AUDIENCE has to name the audience {audience}.",
    "forbidden": "The mesh itself refuses it: {account} is in no allow-list of the orchestrator. Act as the operator "
    "account (`actAs` of `terraform output -json mesh`), or add it to `callers` of the Terraform variables.",
    "not_found": "This is not the orchestrator. Compare the address with `url` of `terraform output -json mesh`.",
    "answer_unreadable": "Something stands in front of the mesh: Identity-Aware Proxy, another proxy or a login page.",
}
"""Code of a refusal to what has to be done about it. `http_...` is Google's own answer, not the mesh's."""


def deployed_checks(target: Target) -> Iterator[Check]:
    """Yield every check that can be made; what needs one that failed is left out."""
    tokens = GoogleTokens(target.account)
    with MeshClient(target.url, audience=target.audience, tokens=tokens, timeout_s=_TIMEOUT_S) as client:
        address = _address(target)
        yield from address
        identity = _identity(tokens, target)
        yield from identity
        if address[0].ok and identity[-1].ok:
            yield from _mesh(client, target)


def _address(target: Target) -> list[Check]:
    """Return whether somebody answers, with or without a token, and how the clocks agree."""
    transport = PooledTransport()
    try:
        reply = transport.send(Request("GET", f"{target.url.rstrip('/')}/health", timeout_s=_REACHING_S))
    except MeshClientError as error:
        advice = "Check the URL and this machine's network."
        return [Check(name="address", ok=False, detail=str(error), next=advice)]
    finally:
        transport.close()
    host = urlsplit(target.url).netloc
    reached = Check(name="address", ok=True, detail=f"{host} answers {reply.status} without a token")
    return [reached, *([clock_check(reply.headers["date"])] if "date" in reply.headers else [])]


def _identity(tokens: GoogleTokens, target: Target) -> list[Check]:
    """Return whether this machine has credentials, and whether they make an ID token; the last check says so."""
    account = target.account
    checks: list[Check] = []
    if account:  # what a process runs as, on Google Cloud, is known only by its token
        checks.append(_attempted("credentials", lambda: f"application-default credentials of {tokens.credentials()}"))
        if not checks[0].ok:
            return checks

    def minted() -> str:
        tokens.token(target.audience)
        return f"an ID token was minted as {account or 'what this process runs as'}"

    return [*checks, _attempted("identity", minted)]


def _attempted(name: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=attempt())
    except MeshClientError as error:
        reason = str(error).removesuffix(error.advice).rstrip()
        return Check(name=name, ok=False, detail=reason, next=error.advice)


def _mesh(client: MeshClient, target: Target) -> Iterator[Check]:
    try:
        health = client.health()
    except MeshClientError as error:
        yield Check(name="orchestrator", ok=False, detail=str(error), next=_next_step(error, target))
        return
    role, version = str(health.get("role")), str(health.get("version"))
    advice = _REFUSALS["not_found"]
    yield Check(name="orchestrator", ok=role == "orchestrator", detail=f"role {role} answers", next=advice)
    yield _version(version)
    yield _accepted(client, target)


def _version(deployed: str) -> Check:
    detail = f"agent-mesh {VERSION} here, {deployed} there"
    advice = f"Install agent-mesh {deployed} here, or deploy this one."
    return Check(name="version", ok=_compatible(VERSION, deployed), detail=detail, next=advice)


def _compatible(ours: str, theirs: str) -> bool:
    """Return whether two versions promise the same: the same major one, before 1.0.0 the same minor one too."""
    first, second = ours.split("."), theirs.split(".")
    return first[:2] == second[:2] if first[0] == "0" else first[0] == second[0]


def _accepted(client: MeshClient, target: Target) -> Check:
    try:
        client.tasks(limit=1)
    except MeshClientError as error:
        return Check(name="token", ok=False, detail=str(error), next=_next_step(error, target))
    return Check(name="token", ok=True, detail="the orchestrator takes our ID token")


def _next_step(error: MeshClientError, target: Target) -> str:
    from agent_mesh.cli._failures import next_step

    account = target.account or "what this process runs as"
    advice = (
        _REFUSALS.get(error.code) or next_step(error) or "Its log says why: Cloud Run, service of the orchestrator."
    )
    return advice.replace("{account}", account).replace("{audience}", target.audience)
