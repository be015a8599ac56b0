"""`probe`: an agent whose effects can be counted. Each completed one is a line in the file PROBE_EFFECTS."""

from __future__ import annotations

import os
import time

import flask
import functions_framework
from pydantic import BaseModel, JsonValue

from agent_mesh import Agent, RetryableError, Run, TerminalError

agent = Agent("probe", max_cost_cents=5)


class Work(BaseModel):
    """What a test wants of one run."""

    case: str
    seconds: float = 0.0
    fails_first: bool = False
    final: bool = False


@agent.handler
def probe(work: Work, run: Run) -> dict[str, JsonValue]:
    """Have one effect and charge less than was reserved for it."""
    ends = time.monotonic() + work.seconds
    while time.monotonic() < ends:
        run.stop_if_cancelled()
        time.sleep(0.05)
    if work.final:
        raise TerminalError("It can never go well.", code="final", cost_cents=1)
    if work.fails_first and run.attempt == 1:
        raise RetryableError("The first attempt fails.")
    _record(f"{work.case} {run.run_id} {run.attempt}\n")
    run.charge(3)
    return {"case": work.case}


def _record(line: str) -> None:
    file = os.open(os.environ["PROBE_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@functions_framework.http
def main(request: flask.Request) -> flask.Response:
    """Serve the agent's endpoints."""
    return agent.serve(request)
