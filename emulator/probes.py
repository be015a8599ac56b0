"""Waiting until something that was started answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import urllib3

from emulator.errors import StartError
from emulator.processes import Child, last_lines

_STEP: Final = 0.03
_http: Final = urllib3.PoolManager(maxsize=16, retries=False)

Probe = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Awaited:
    """A child and how to see that it is ready."""

    child: Child
    ready: Probe


def answers_ok(url: str) -> Probe:
    """Ready when a GET of this URL is 200."""

    def ready() -> bool:
        try:
            response = _http.request("GET", url, timeout=1.0, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        return response.status == HTTPStatus.OK

    return ready


def accepts(host: str, port: int) -> Probe:
    """Ready when the port accepts connections."""

    def ready() -> bool:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
        except OSError:
            return False
        return True

    return ready


def wait_until_ready(awaited: Iterable[Awaited], seconds: float) -> None:
    """Return when all are ready.

    Raises StartError with the end of the log when one has ended or is not ready in time.
    """
    waiting = list(awaited)
    deadline = time.monotonic() + seconds
    while waiting:
        waiting = [one for one in waiting if not one.ready()]
        for one in waiting:
            command = one.child.command
            if not one.child.running():
                what = f"{command.name} ended with code {one.child.exit_code}"
                raise StartError(f"{what} before it was ready; {command.log} ends with\n{last_lines(command.log)}")
            if time.monotonic() > deadline:
                what = f"{command.name} was not ready within {seconds:g} s"
                raise StartError(f"{what}; {command.log} ends with\n{last_lines(command.log)}")
        if waiting:
            time.sleep(_STEP)
