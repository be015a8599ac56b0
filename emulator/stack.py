"""The whole local stack as a context manager: Firestore, Pub/Sub, issuer, schedules and functions."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from emulator.cloud import CloudPlace, Deployment
from emulator.clouds import EMBEDDED, make_cloud, usual_cloud
from emulator.console.server import Console
from emulator.console.sources import Sources
from emulator.delivery.push import CachedTokens
from emulator.errors import EmulatorError
from emulator.events import events_to
from emulator.functions import (
    FunctionAddress,
    Surroundings,
    agent_table,
    cloud_environment,
    function_address,
    function_command,
    function_environment,
    source_folder,
)
from emulator.identities import Identities
from emulator.oidc.issuer import LIFETIME_SECONDS, Issuer
from emulator.oidc.keys import SigningKey
from emulator.oidc.metadata import MetadataServer
from emulator.ports import Ports
from emulator.probes import Awaited, answers_ok, wait_until_ready
from emulator.processes import Guard
from emulator.routes import Route, routes
from emulator.schedules import Scheduler, jobs
from emulator.stack_file import VERSION, StateDirectory
from emulator.supervision import Supervisor, reloader
from emulator.topology import load_topology
from emulator.watch import Watch

ROOT: Final = Path(__file__).resolve().parent.parent
_FUNCTION_GRACE: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What to run and where. ``environment`` adds variables per role; ``only`` empty means all roles."""

    state_dir: Path = Path(".mesh")
    roles_file: Path = ROOT / "infra" / "roles.json"
    root: Path = ROOT
    project: str = "mesh-local"
    cloud: str = field(default_factory=usual_cloud)
    keep: bool = False
    only: tuple[str, ...] = ()
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    watch: bool = False
    ready_seconds: float = 60.0


class LocalStack:
    """Runs between ``with`` and its end; everything it started ends with it, whatever happens.

    Several may run at once, each with a state directory of its own.
    """

    def __init__(self, options: StackOptions) -> None:
        """Read the roles file. Raises TopologyError when it is wrong."""
        self._options = options
        self._topology = load_topology(options.roles_file)
        self._roles = self._topology.chosen(options.only)
        self._identities = Identities(options.project)
        self._state = StateDirectory(options.state_dir)
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        """Start everything and wait until all of it is ready.

        Raises AlreadyRunningError when another stack owns the state directory, and StartError
        when something does not start; nothing is left running then.
        """
        self._state.claim()
        self._cleanup.callback(self._state.release)
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop everything and remove ``stack.json``; logs are kept."""
        self._cleanup.close()

    @property
    def project(self) -> str:
        """The project id."""
        return self._options.project

    @property
    def developer(self) -> str:
        """The email of the person on this machine."""
        return self._identities.developer

    @property
    def issuer(self) -> Issuer:
        """The OIDC issuer."""
        return self._issuer

    @property
    def firestore(self) -> str:
        """``host:port`` of Firestore."""
        return self._cloud.firestore

    @property
    def pubsub(self) -> str:
        """``host:port`` of Pub/Sub."""
        return self._cloud.pubsub

    @property
    def functions(self) -> Mapping[str, FunctionAddress]:
        """Where each role answers."""
        return MappingProxyType(self._functions)

    @property
    def routes(self) -> list[Route]:
        """Which subscription delivers where."""
        return routes(self._topology, self._identities, self._role_urls)

    @property
    def stats_url(self) -> str:
        """Where :meth:`deliveries` can be read over HTTP; empty when nowhere."""
        return self._cloud.stats_url

    @property
    def console_url(self) -> str:
        """The page for the person on this machine."""
        return self._console.url

    @property
    def logs(self) -> Path:
        """The folder of the logs, one file per process."""
        return self._state.logs

    def url(self, role: str) -> str:
        """The base URL of a role, which is also its audience."""
        return self._functions[role].url

    def token(self, audience: str, email: str | None = None, expires_in: int = LIFETIME_SECONDS) -> str:
        """An ID token for this audience, as the developer unless an email is given."""
        return self._issuer.mint(audience, email or self.developer, expires_in)

    def environment(self) -> dict[str, str]:
        """The variables for a client on this machine that acts as the developer."""
        address = self._metadata["developer"].address
        return {**cloud_environment(self._around), "GCE_METADATA_HOST": address, "GCE_METADATA_IP": address}

    def pids(self) -> Mapping[str, int]:
        """Process ids of the functions and of what stands in for Google, by name."""
        return self._supervisor.pids()

    def restart(self, role: str) -> None:
        """Stop and start a role (or ``firestore``, ``pubsub``) at its address and wait until it is ready."""
        self._supervisor.restart([role])

    def kill(self, role: str) -> None:
        """SIGKILL a role (or ``firestore``, ``pubsub``); it stays down until :meth:`start`."""
        self._supervisor.kill(role)

    def start(self, role: str) -> None:
        """Start a role that was killed and wait until it is ready."""
        self._supervisor.start(role)

    def hold_deliveries(self) -> None:
        """Push nothing until :meth:`release_deliveries`; messages wait and lose no attempt."""
        self._cloud.hold()

    def release_deliveries(self) -> None:
        """Push again."""
        self._cloud.release()

    def deliveries(self) -> dict[str, dict[str, int]]:
        """Counts by subscription: what was pushed, acked and failed, what waits (``emulator.delivery.tally``)."""
        return self._cloud.deliveries()

    def document(self) -> dict[str, object]:
        """What ``stack.json`` holds."""
        return {
            "version": VERSION,
            "project": self.project,
            "pid": os.getpid(),
            "issuer": {
                "url": self._issuer.url,
                "certsUrl": self._issuer.certs_url,
                "tokenUrl": self._issuer.token_url,
            },
            "emulators": {"firestore": self.firestore, "pubsub": self.pubsub},
            "developer": self.developer,
            "functions": {
                name: {"url": one.url, "audience": one.audience, "log": one.log, "docs": one.docs}
                for name, one in self._functions.items()
            },
            "agents": agent_table(self._topology, self._functions),
            "subscriptions": {
                route.name: {
                    "topic": route.topic,
                    "serviceAccount": route.target.service_account,
                    "endpoint": route.target.endpoint,
                    "audience": route.target.audience,
                }
                for route in self.routes
            },
            **({"bridge": {"stats": self.stats_url}} if self.stats_url else {}),
            "console": {"url": self.console_url},
            "startedAt": self._started_at,
        }

    @property
    def _role_urls(self) -> dict[str, str]:
        return {name: one.url for name, one in self._functions.items()}

    def _start(self) -> None:
        self._prepare()
        self._start_issuer()
        servers = self._start_cloud()
        functions = [self._start_function(role) for role in self._roles]
        wait_until_ready(servers, self._options.ready_seconds)
        delivery = self._cloud.deploy(
            Deployment(self._options.roles_file, self._topology, self._identities, self._role_urls)
        )
        wait_until_ready([*functions, *delivery], self._options.ready_seconds)
        self._cloud.release()
        self._start_console()
        self._ports.remember()
        self._supervisor.keep_alive()
        self._start_scheduler()
        if self._options.watch:
            self._start_watch()
        self._started_at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        self._state.write_stack(self.document())

    def _prepare(self) -> None:
        state = self._state
        self._report = events_to(state.logs / "stack.log")
        guard = Guard()
        self._cleanup.callback(guard.close)
        self._supervisor = Supervisor(guard, self._report, self._options.ready_seconds)
        self._ports = Ports(state.path / "ports.json")
        self._cleanup.callback(self._ports.close)
        self._functions = {
            role: function_address(self._ports.take(role), state.logs / f"{role}.log") for role in self._roles
        }

    def _start_cloud(self) -> list[Awaited]:
        place = CloudPlace(
            ports=self._ports,
            logs=self._state.logs,
            state=self._state.path,
            supervisor=self._supervisor,
            keep=self._options.keep,
            token_url=self._issuer.token_url,
        )
        self._cloud = make_cloud(self._options.cloud, place)
        self._around = Surroundings(
            topology=self._topology,
            identities=self._identities,
            root=self._options.root,
            state=self._state.for_functions(kept=self._options.keep and self._options.cloud == EMBEDDED),
            firestore=self._cloud.firestore,
            pubsub=self._cloud.pubsub,
            issuer=self._issuer.url,
            certs_url=self._issuer.certs_url,
        )
        self._cleanup.callback(self._stop_services)
        return list(self._cloud.start())

    def _start_issuer(self) -> None:
        key = SigningKey.load_or_create(self._state.path / "oidc-key.pem")
        self._issuer = self._cleanup.enter_context(Issuer(key, self._ports.take("issuer"), usual=self.developer))
        accounts = {role: self._identities.role(role) for role in self._roles}
        self._metadata = {
            name: self._cleanup.enter_context(MetadataServer(self.project, email, self._issuer.mint))
            for name, email in {**accounts, "developer": self.developer}.items()
        }

    def _start_function(self, role: str) -> Awaited:
        address, metadata = self._functions[role], self._metadata[role].address
        extra = self._options.environment.get(role, {})
        environment = function_environment(self._around, role, self._functions, metadata, extra)
        command = function_command(self._around, role, address, environment)
        return self._supervisor.add(command, answers_ok(address.health))

    def _start_console(self) -> None:
        sources = Sources(
            project=self.project,
            cloud=self._options.cloud,
            firestore=self.firestore,
            pubsub=self.pubsub,
            logs=self.logs,
            routes=self.routes,
            functions=self._functions,
            extras=self._cloud.extras,
            deliveries=self._cloud.deliveries,
        )
        self._console = self._cleanup.enter_context(Console(sources, self._ports.take("console")))

    def _start_scheduler(self) -> None:
        wanted = jobs(self._topology, self._identities, self._functions)
        scheduler = Scheduler(wanted, CachedTokens(self._issuer.mint), self._report)
        scheduler.start()
        self._cleanup.callback(scheduler.stop)

    def _start_watch(self) -> None:
        shared = self._options.root / "shared" / "agent_mesh"
        folders = {role: (source_folder(self._around, role), shared) for role in self._roles}
        watch = Watch(folders, reloader(self._supervisor, self._report))
        watch.start()
        self._cleanup.callback(watch.stop)

    def _stop_services(self) -> None:
        self._supervisor.close()
        with suppress(EmulatorError):  # a cloud that is gone delivers nothing either
            self._cloud.hold()
        self._supervisor.stop(self._roles, _FUNCTION_GRACE)
        self._cloud.stop()
