"""`doctor`: is everything there, and if not, what to do."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Final

import typer

from agent_mesh.cli._checks import Check, Diagnosis, check_lines, clock_check
from agent_mesh.cli._command import add_command
from agent_mesh.cli._deployed import deployed_checks
from agent_mesh.cli._failures import FAILED, next_step
from agent_mesh.cli._session import Session
from agent_mesh.client import MeshClientError, PooledTransport, Request, Stack
from agent_mesh.version import VERSION

_START: Final = "python3 noxfile.py -s up"
_OLDEST_PYTHON: Final = (3, 11)
_TIMEOUT_S: Final = 3.0
_OK: Final = 200
_CERTS_PATH: Final = "/oauth2/v1/certs"  # Google's own: https://www.googleapis.com/oauth2/v1/certs


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "doctor", doctor)


def doctor(session: Session) -> int:
    """Check that the mesh can be used from here.

    Each line says what is wrong and what to do.
    """
    checks = list(_checks(session))
    diagnosis = Diagnosis(ok=all(check.ok for check in checks), checks=checks)
    session.answer(diagnosis, *check_lines(checks, session.out.width))
    session.say("All is well." if diagnosis.ok else "Something is wrong; begin with the first line that says so.")
    return 0 if diagnosis.ok else FAILED


def _checks(session: Session) -> Iterator[Check]:
    yield _python()
    if session.target is not None:
        yield from deployed_checks(session.target)
        return
    try:
        stack = session.stack
    except MeshClientError as error:
        yield Check(name="stack", ok=False, detail=str(error), next=_START)
        return
    yield from _stack(PooledTransport(), stack)
    yield _accepted(session)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(
        name="python", ok=sys.version_info >= _OLDEST_PYTHON, detail=version, next="Install Python 3.11 or newer."
    )


def _stack(transport: PooledTransport, stack: Stack) -> Iterator[Check]:
    yield Check(name="stack", ok=True, detail=str(Stack.find()))
    yield _process(stack)
    yield _answers(transport, "issuer", stack.issuer.url + _CERTS_PATH)
    for name, address in sorted(stack.emulators.items()):
        yield _port(name, address)
    if stack.bridge is not None:
        yield _answers(transport, "bridge", stack.bridge.stats)
    for role, function in sorted(stack.functions.items()):
        yield from _function(transport, role, function.url, function.log)


def _process(stack: Stack) -> Check:
    if stack.pid is None:
        return Check(name="process", ok=True, detail="the stack does not say which")
    try:
        os.kill(stack.pid, 0)
    except ProcessLookupError:
        detail = f"process {stack.pid} is gone: the stack ended without cleaning up"
        return Check(name="process", ok=False, detail=detail, next=_START)
    except PermissionError:
        pass  # it is there, and somebody else's
    return Check(name="process", ok=True, detail=str(stack.pid))


def _port(name: str, address: str) -> Check:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        return Check(name=name, ok=False, detail=f"{address}: {error}", next=_START)
    return Check(name=name, ok=True, detail=address)


def _answers(transport: PooledTransport, name: str, url: str) -> Check:
    try:
        reply = transport.send(Request("GET", url, timeout_s=_TIMEOUT_S))
    except MeshClientError as error:
        return Check(name=name, ok=False, detail=str(error), next=_START)
    return Check(
        name=name, ok=reply.status == _OK, detail=f"{url} answers {reply.status}", next=f"Is {url} the {name}?"
    )


def _function(transport: PooledTransport, role: str, url: str, log: str = "") -> Iterator[Check]:
    """Yield whether a function lives, and for the orchestrator whether its clock agrees with ours."""
    address = f"{url.rstrip('/')}/health"
    try:
        reply = transport.send(Request("GET", address, timeout_s=_TIMEOUT_S))
    except MeshClientError as error:
        yield Check(name=role, ok=False, detail=str(error), next=f"Its log says why: {log}" if log else _START)
        return
    alive = reply.status == _OK
    yield Check(name=role, ok=alive, detail=f"{address} answers {reply.status}", next=f"Is {url} the {role}?")
    if role == "orchestrator" and alive and "date" in reply.headers:
        yield clock_check(reply.headers["date"])


def _accepted(session: Session) -> Check:
    try:
        session.client.tasks(limit=1)
    except MeshClientError as error:
        return Check(name="token", ok=False, detail=str(error), next=_next_step(error))
    return Check(name="token", ok=True, detail=f"the orchestrator takes our ID token (agent-mesh {VERSION})")


def _next_step(error: MeshClientError) -> str:
    """Return what to do about a call that failed; the usual advice is to run this command."""
    own = {
        "unauthenticated": "Give the audience that the orchestrator was started with: --audience URL",
        "token_unavailable": _START,
        "connection_failed": "See what is said of the orchestrator above.",
    }
    return own.get(error.code) or next_step(error)
