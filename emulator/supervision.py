"""Keeps services running: starts them again when they die, restarts, kills and stops them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from emulator.delivery.backoff import Backoff
from emulator.errors import EmulatorError, StartError
from emulator.events import Report
from emulator.probes import Awaited, Probe, wait_until_ready
from emulator.processes import Child, Command, Guard, stop_all

RELOAD_GRACE: Final = 2.0
_TICK: Final = 0.1
_STABLE_SECONDS: Final = 10.0
_BACKOFF: Final = Backoff(0.3, 10.0)


@dataclass(slots=True)
class Service:
    """A command that should run, and how to see that it does.

    ``revive`` False leaves it dead when it dies; ``restored`` is called once it is ready, after every start but
    the first.
    """

    command: Command
    ready: Probe
    revive: bool = True
    restored: Callable[[], None] | None = None
    restoring: bool = False
    wanted: bool = False
    child: Child | None = None
    deaths: int = 0
    started: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)


class Supervisor:
    """Runs services by name. Every method is safe from any thread."""

    def __init__(self, guard: Guard, report: Report, ready_seconds: float) -> None:
        """``ready_seconds`` is how long a service may take to become ready."""
        self._guard = guard
        self._report = report
        self._ready_seconds = ready_seconds
        self._services: dict[str, Service] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._revive, name="supervisor", daemon=True)

    def add(
        self, command: Command, ready: Probe, *, revive: bool = True, restored: Callable[[], None] | None = None
    ) -> Awaited:
        """Start a service; from :meth:`keep_alive` on it is started again when it dies, unless ``revive`` is False.

        ``restored`` does what has to be done when it is ready again; it may raise EmulatorError.
        """
        service = self._services[command.name] = Service(command, ready, revive, restored)
        started = Awaited(self._launch(service), ready)
        service.restoring = False
        return started

    def keep_alive(self) -> None:
        """Begin to revive what dies."""
        self._thread.start()

    def pids(self) -> Mapping[str, int]:
        """The process ids of what runs."""
        running = {name: one.child for name, one in self._services.items() if one.child and one.child.running()}
        return {name: child.pid for name, child in running.items()}

    def start(self, name: str) -> None:
        """Start it and wait until it is ready. Raises StartError when it does not come up."""
        service = self._named(name)
        with service.lock:
            if service.child is None or not service.child.running():
                self._launch(service)
        self._await([service])

    def kill(self, name: str) -> None:
        """SIGKILL it with all its processes; it stays down until :meth:`start`."""
        service = self._named(name)
        with service.lock:
            service.wanted = False
            if service.child is not None:
                service.child.kill()

    def restart(self, names: Iterable[str]) -> None:
        """Stop and start these at the same addresses, and wait until all are ready.

        Raises StartError when one does not come up; it is tried again in the background.
        """
        services = [self._named(name) for name in names]
        for service in services:
            service.lock.acquire()
        try:
            stop_all([one.child for one in services if one.child is not None], RELOAD_GRACE)
            for service in services:
                service.deaths = 0
                self._launch(service)
        finally:
            for service in services:
                service.lock.release()
        self._await(services)

    def stop(self, names: Iterable[str], grace: float) -> None:
        """Stop these, all at once; they stay down."""
        services = [self._services[name] for name in names if name in self._services]
        for service in services:
            with service.lock:
                service.wanted = False
        stop_all([one.child for one in services if one.child is not None], grace)

    def wanted(self, names: Iterable[str]) -> list[str]:
        """Those of these that should run: not the ones that were killed."""
        return [name for name in names if self._named(name).wanted]

    def close(self) -> None:
        """Revive nothing any more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _named(self, name: str) -> Service:
        if name not in self._services:
            raise EmulatorError(f"there is no {name!r} here; there are {', '.join(self._services)}")
        return self._services[name]

    def _launch(self, service: Service) -> Child:
        service.wanted = True
        service.restoring = service.restored is not None
        service.started = time.monotonic()
        service.child = Child(service.command, self._guard)
        return service.child

    def _await(self, services: Sequence[Service]) -> None:
        awaited = [Awaited(one.child, one.ready) for one in services if one.child is not None]
        wait_until_ready(awaited, self._ready_seconds)
        for service in services:
            with service.lock:
                self._restore(service)

    def _restore(self, service: Service) -> None:
        if service.restoring and service.restored is not None:
            service.restored()
            service.restoring = False

    def _revive(self) -> None:
        while not self._stopping.wait(_TICK):
            for service in list(self._services.values()):
                if service.lock.acquire(blocking=False):
                    try:
                        self._revive_one(service, time.monotonic())
                    finally:
                        service.lock.release()

    def _revive_one(self, service: Service, now: float) -> None:
        child = service.child
        if not service.wanted or child is None:
            return
        if child.running():
            self._restore_when_ready(service)
            return
        if not service.revive:
            service.wanted = False
            self._report("service.died", service=service.command.name, exitCode=child.exit_code)
            return
        died_early = service.deaths == 0 or now - service.started < _STABLE_SECONDS + _BACKOFF.delay(service.deaths)
        deaths = service.deaths + 1 if died_early else 1
        if now - service.started < _BACKOFF.delay(deaths):
            return
        child.kill()
        service.deaths = deaths
        self._report("service.died", service=service.command.name, exitCode=child.exit_code, deaths=deaths)
        try:
            self._launch(service)
        except StartError as error:
            self._report("service.not_started", service=service.command.name, error=str(error))

    def _restore_when_ready(self, service: Service) -> None:
        if not service.restoring or not service.ready():
            return
        try:
            self._restore(service)
        except EmulatorError as error:
            self._report("service.not_restored", service=service.command.name, error=str(error))


def reloader(supervisor: Supervisor, report: Report) -> Callable[[list[str]], None]:
    """What a code watch calls: restart these and report how it went."""

    def changed(folders_of: list[str]) -> None:
        names = supervisor.wanted(folders_of)
        report("code.changed", services=names)
        try:
            supervisor.restart(names)
        except StartError as error:
            report("code.broken", services=names, error=str(error))
        else:
            report("code.reloaded", services=names)

    return changed
