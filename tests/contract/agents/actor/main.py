"""An agent for the contract tests that does what its payload says: `{"act": "fail", "times": 2, "word": "..."}`.

Every start of the handler adds a line to `$CONTRACT_STARTS/<word>`: that is how a test counts runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import flask
import functions_framework
from pydantic import JsonValue

from agent_mesh import Agent, RetryableError, Run, TerminalError

agent = Agent("actor", price_cents=2, description="Does what its payload says.")
Payload = dict[str, JsonValue]


@agent.handler
def act(payload: Payload, run: Run) -> JsonValue:
    """Do what `act` says; give the payload back where it says nothing."""
    _note_start(payload, run)
    return ACTS[str(payload.get("act", "echo"))](payload, run)


def _note_start(payload: Payload, run: Run) -> None:
    word = payload.get("word")
    if isinstance(word, str):
        with (Path(os.environ["CONTRACT_STARTS"]) / word).open("a") as file:
            file.write(f"{run.attempt} {time.time()}\n")


def _echo(payload: Payload, run: Run) -> JsonValue:
    return {"echo": payload, "attempt": run.attempt}


def _fail(payload: Payload, run: Run) -> JsonValue:
    """Fail the first `times` attempts."""
    times = payload["times"]
    if isinstance(times, int) and run.attempt <= times:
        raise RetryableError(f"attempt {run.attempt} fails as asked", code="asked_to_fail")
    return {"attempt": run.attempt}


def _end(payload: Payload, _run: Run) -> JsonValue:
    """Fail for good, with as long a reason as asked for."""
    length = payload.get("length")
    raise TerminalError("x" * (length if isinstance(length, int) else 3), code="asked_to_end")


def _break(_payload: Payload, _run: Run) -> JsonValue:
    raise ZeroDivisionError


def _work(payload: Payload, run: Run) -> JsonValue:
    """Work for `seconds`, reporting progress; stop when cancelled."""
    steps = int(float(str(payload["seconds"])) / 0.1)
    for step in range(steps):
        run.progress(f"step {step}", percent=100.0 * step / steps)
        run.stop_if_cancelled()
        time.sleep(0.1)
    return {"steps": steps}


def _sleep(payload: Payload, _run: Run) -> JsonValue:
    """Sleep for `seconds`, whatever anybody asks."""
    time.sleep(float(str(payload["seconds"])))
    return {"slept": payload["seconds"]}


ACTS: dict[str, Callable[[Payload, Run], JsonValue]] = {
    "echo": _echo,
    "fail": _fail,
    "end": _end,
    "break": _break,
    "work": _work,
    "sleep": _sleep,
}


@functions_framework.http
def actor(request: flask.Request) -> flask.Response:
    """Serve the agent's endpoints."""
    return agent.serve(request)
