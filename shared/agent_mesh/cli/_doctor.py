"""`doctor`: is everything there, and if not, what to do."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import typer
from pydantic import BaseModel

from agent_mesh.cli._command import add_command
from agent_mesh.cli._failures import FAILED, next_step
from agent_mesh.cli._session import Session
from agent_mesh.client import MeshClientError, PooledTransport, Request, Stack
from agent_mesh.version import VERSION

if TYPE_CHECKING:
    from rich.text import Text

_START: Final = "python3 noxfile.py -s up"
_OLDEST_PYTHON: Final = (3, 11)
_SKEW_ALLOWED_S: Final = 10.0  # what token verification lets pass
_TIMEOUT_S: Final = 3.0
_OK: Final = 200
_CERTS_PATH: Final = "/oauth2/v1/certs"  # Google's own: https://www.googleapis.com/oauth2/v1/certs


class Check(BaseModel):
    """One thing that was looked at; `next` says what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str
    next: str = ""


class Diagnosis(BaseModel):
    """All checks."""

    ok: bool
    checks: list[Check]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "doctor", doctor)


def doctor(session: Session) -> int:
    """Check that the mesh can be used from here.

    Each line says what is wrong and what to do.
    """
    checks = list(_checks(session))
    diagnosis = Diagnosis(ok=all(check.ok for check in checks), checks=checks)
    session.answer(diagnosis, *_lines(checks))
    session.say("All is well." if diagnosis.ok else "Something is wrong; begin with the first line that says so.")
    return 0 if diagnosis.ok else FAILED


def _checks(session: Session) -> Iterator[Check]:
    yield _python()
    transport = PooledTransport()
    if session.url is not None:
        yield from _function(transport, "orchestrator", session.url)
    else:
        try:
            stack = session.stack
        except MeshClientError as error:
            yield Check(name="stack", ok=False, detail=str(error), next=_START)
            return
        yield from _stack(transport, stack)
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
        yield _clock(reply.headers["date"])


def _clock(date: str) -> Check:
    skew = time.time() - parsedate_to_datetime(date).timestamp()
    detail = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the orchestrator's"
    return Check(name="clock", ok=abs(skew) <= _SKEW_ALLOWED_S, detail=detail, next="Set this machine's clock by NTP.")


def _accepted(session: Session) -> Check:
    try:
        session.client.tasks(limit=1)
    except MeshClientError as error:
        return Check(name="token", ok=False, detail=str(error), next=_next_step(error))
    return Check(name="token", ok=True, detail=f"the orchestrator takes our ID token (agent-mesh {VERSION})")


def _next_step(error: MeshClientError) -> str:
    """Return what to do about a call that failed; the usual advice is to run this command."""
    own = {
        "unauthenticated": "Give the audience that the orchestrator was deployed with: --audience URL",
        "token_unavailable": f"Locally: {_START}. On Google Cloud: --as SERVICE_ACCOUNT that you may impersonate.",
        "connection_failed": "See what is said of the orchestrator above.",
    }
    return own.get(error.code) or next_step(error)


def _lines(checks: list[Check]) -> Iterator[str | Text]:
    from rich.text import Text

    from agent_mesh.cli._text import printable

    for check in checks:
        mark = ("ok  ", "green") if check.ok else ("fail", "bold red")
        yield Text.assemble(mark, (f"  {check.name:<14}", "bold"), printable(check.detail))
        if not check.ok:
            yield Text(f"      {'':<14}→ {check.next}", "cyan")
