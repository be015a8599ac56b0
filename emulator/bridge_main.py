"""The bridge as a process of its own, configured by environment variables.

PUBSUB_EMULATOR_HOST  the emulator, ``host:port``
GCP_PROJECT           the project
ROLE_URLS             JSON object of role names and base URLs
AGENT_PUSH_URL        endpoint of the tasks subscription of ``agent_light``
ORCH_RESULTS_URL      endpoint of the results subscription of ``orchestrator``
PUBSUB_AUDIENCE, RESULTS_PUBSUB_AUDIENCE  audiences of these two, if not their base URI
OIDC_TOKEN_URL        where to mint; without it no token is sent
BRIDGE_PORT           port of ``/healthz`` and ``/stats`` (0: any free one)
"""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

from emulator.bridge import Bridge
from emulator.delivery.push import CachedTokens, PushTarget, base_uri
from emulator.errors import StartError
from emulator.events import log_event
from emulator.httpd import LoopbackServer, Reply, Request, json_reply, text_reply
from emulator.identities import Identities
from emulator.oidc.remote import remote_tokens
from emulator.routes import Route, routes, unrouted
from emulator.topology import Topology, load_topology

_AGENT: Final = "agent_light"
_ORCHESTRATOR: Final = "orchestrator"
_STOP_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """What the environment says."""

    pubsub: str
    project: str
    role_urls: Mapping[str, str]
    overrides: Mapping[str, PushOverride]
    token_url: str
    port: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables. Raises StartError for a missing or malformed one."""
        pubsub = environment.get("PUBSUB_EMULATOR_HOST", "")
        project = environment.get("GCP_PROJECT") or environment.get("GOOGLE_CLOUD_PROJECT", "")
        if not pubsub or not project:
            raise StartError("set PUBSUB_EMULATOR_HOST (host:port) and GCP_PROJECT for the bridge")
        overrides = {
            _AGENT: PushOverride(environment.get("AGENT_PUSH_URL", ""), environment.get("PUBSUB_AUDIENCE", "")),
            _ORCHESTRATOR: PushOverride(
                environment.get("ORCH_RESULTS_URL", ""), environment.get("RESULTS_PUBSUB_AUDIENCE", "")
            ),
        }
        issuer = environment.get("OIDC_ISSUER", "")
        return cls(
            pubsub=pubsub,
            project=project,
            role_urls=_role_urls(environment.get("ROLE_URLS", "{}"), overrides),
            overrides=overrides,
            token_url=environment.get("OIDC_TOKEN_URL") or (f"{issuer}/token" if issuer else ""),
            port=int(environment.get("BRIDGE_PORT", "0")),
        )


@dataclass(frozen=True, slots=True)
class PushOverride:
    """Another endpoint and audience for a subscription; empty means unchanged."""

    endpoint: str
    audience: str

    def apply(self, target: PushTarget) -> PushTarget:
        """The target with what is overridden."""
        endpoint = self.endpoint or target.endpoint
        audience = self.audience or (base_uri(endpoint) if self.endpoint else target.audience)
        return dataclasses.replace(target, endpoint=endpoint, audience=audience)


def _role_urls(given: str, overrides: Mapping[str, PushOverride]) -> dict[str, str]:
    try:
        urls = {str(role): str(url).rstrip("/") for role, url in json.loads(given).items()}
    except (ValueError, AttributeError) as error:
        raise StartError(f"ROLE_URLS must be a JSON object of role names and URLs, not {given!r}") from error
    for role, override in overrides.items():
        if override.endpoint:
            urls.setdefault(role, base_uri(override.endpoint))
    return urls


def bridge_routes(topology: Topology, settings: BridgeSettings) -> list[Route]:
    """The routes, with the overrides on the tasks of ``agent_light`` and on the results."""
    used = routes(topology, Identities(settings.project), settings.role_urls)
    return [
        dataclasses.replace(route, target=settings.overrides[role].apply(route.target))
        if (role := _overridden_role(topology, route.name))
        else route
        for route in used
    ]


def _overridden_role(topology: Topology, subscription: str) -> str:
    wanted = topology.subscriptions[subscription]
    pairs = {(_AGENT, "tasks"), (_ORCHESTRATOR, "results")}
    return wanted.push.role if (wanted.push.role, wanted.topic) in pairs else ""


def run_bridge(roles_file: Path, environment: Mapping[str, str]) -> None:
    """Deliver until SIGTERM or SIGINT. Raises EmulatorError when it cannot start."""
    settings = BridgeSettings.from_environment(environment)
    topology = load_topology(roles_file)
    used = bridge_routes(topology, settings)
    tokens = CachedTokens(remote_tokens(settings.token_url)) if settings.token_url else None
    if tokens is None:
        log_event("bridge.without_tokens", hint="set OIDC_TOKEN_URL to push with ID tokens")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    bridge = Bridge(settings.pubsub, used, tokens)
    bridge.create(topology, settings.project)
    bridge.start()
    waiting = unrouted(topology, used)
    log_event("bridge.ready", routes={route.name: route.target.endpoint for route in used}, unrouted=waiting)
    with LoopbackServer(lambda request: _status(bridge, request), settings.port):
        stop.wait()
    bridge.stop(_STOP_SECONDS)


def _status(bridge: Bridge, request: Request) -> Reply:
    if request.path == "/healthz":
        return text_reply("ok")
    if request.path == "/stats":
        return json_reply(bridge.state())
    return text_reply(f"the bridge has no {request.path}", HTTPStatus.NOT_FOUND)
