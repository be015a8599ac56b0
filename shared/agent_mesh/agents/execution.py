"""One run from request to outcome: admit, claim, handle, store. Delivered twice, it runs once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from agent_mesh.agents.admission import Price, refusal_of
from agent_mesh.agents.errors import AgentError, RunCancelled, TerminalError
from agent_mesh.agents.held_run import HeldRun, LostLease, Run
from agent_mesh.agents.lease_keeper import LeaseKeeper
from agent_mesh.agents.permission import LONGEST_RUN_S
from agent_mesh.agents.records import Outcome, RunRecord
from agent_mesh.agents.runs import RunStore, WantedRun
from agent_mesh.contracts.problems import Busy
from agent_mesh.contracts.runs import RunMessage, RunRequest, RunStatus
from agent_mesh.contracts.tasks import TaskFault
from agent_mesh.contracts.values import RESULT_LIMIT_BYTES, as_json, to_json
from agent_mesh.platform.clock import Clock
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.logs import log

Handler = Callable[[dict[str, JsonValue], Run], object]


@dataclass(frozen=True)
class Ran:
    """A run that has ended.

    `idempotent` is true where an earlier call ended it; `retryable` where it may be repeated.
    """

    outcome: Outcome
    attempt: int
    idempotent: bool = False
    retryable: bool = False


class Execution:
    """Runs one agent's handler under the rules of the mesh."""

    def __init__(self, store: RunStore, clock: Clock, price: Price, handler: Handler) -> None:
        """`handler` takes the payload and the run and returns anything that pydantic can turn into JSON."""
        self._store = store
        self._clock = clock
        self._price = price
        self._handler = handler
        self._leases = LeaseKeeper(store.lease_s / 3)

    def run(
        self,
        wanted: WantedRun,
        request: RunRequest | RunMessage,
        *,
        repeatable: bool,
        denial: Outcome | None = None,
    ) -> Ran:
        """Run, or return how an earlier delivery ended. Raise `Busy` while another process holds the run.

        `repeatable` tells whether a failed attempt may be followed by another; if not, its failure is the outcome.
        `denial` is policy's: how the run ends where it would start now.
        """
        refusal = refusal_of(request.ttl, request.budget_cents, self._price, self._clock.now()) or denial
        claim = self._store.claim(wanted, refusal)
        if not claim.won:
            return self._as_found(claim.run, wanted)
        if refusal is not None:
            return Ran(refusal, claim.run.attempt)
        crash_point("agent.claimed")
        try:
            return self._handle(claim.run, request, repeatable=repeatable)
        except LostLease:
            return self._as_found(self._store.get(wanted.run_id) or claim.run, wanted)

    def _as_found(self, run: RunRecord, wanted: WantedRun) -> Ran:
        if run.outcome is None:
            detail = f"Attempt {run.attempt} of this run is going on; its result will come by itself."
            raise Busy(detail, retry_after_s=max(1, math.ceil(self._store.lease_s / 3)))
        return Ran(run.outcome, max(run.attempt, wanted.attempt), idempotent=True)

    def _handle(self, record: RunRecord, request: RunRequest | RunMessage, *, repeatable: bool) -> Ran:
        held = HeldRun(self._store, record, self._clock)
        run = Run(
            held, self._clock, ttl=request.ttl, budget_cents=request.budget_cents, trace_id=request.trace_id or ""
        )
        release = self._leases.keep(held.renew, min(run.remaining_s, LONGEST_RUN_S))
        try:
            outcome, retryable = self._outcome(request.payload, run)
        finally:
            release()
        crash_point("agent.handled")
        retryable = retryable and repeatable
        if retryable and outcome.error:
            held.wait(outcome.error)
        else:
            held.finish(outcome)
        crash_point("agent.outcome_stored")
        return Ran(outcome, record.attempt, retryable=retryable)

    def _outcome(self, payload: dict[str, JsonValue], run: Run) -> tuple[Outcome, bool]:
        """Call the handler; return how the run ended and whether it may be repeated."""
        try:
            return self._success(self._handler(payload, run), run), False
        except RunCancelled as stopped:
            return self._fault(RunStatus.CANCELLED, stopped), False
        except TerminalError as error:
            return self._fault(RunStatus.DEAD, error), False
        except AgentError as error:
            return self._fault(RunStatus.FAILED, error, retryable=True), True
        except Exception as error:  # noqa: BLE001  # a handler is a stranger's code: whatever it raises ends this attempt only
            log("a handler failed", level=40, failed=True, run=run.run_id, kind=type(error).__name__)
            fault = TaskFault(
                code="handler_failed", detail=f"The handler raised {type(error).__name__}.", retryable=True
            )
            return Outcome(RunStatus.FAILED, error=fault), True

    def _success(self, result: object, run: Run) -> Outcome:
        cost = self._price.default if run.charged_cents is None else run.charged_cents
        if cost > self._price.maximum:
            detail = f"The handler charged {cost} cents; the agent declares {self._price.maximum} at most."
            fault = TaskFault(code="price_above_maximum", detail=detail)
            return Outcome(RunStatus.FAILED, error=fault, cost_cents=self._price.maximum)
        try:
            text = to_json(as_json(result))
            size = len(text.encode())
        except (TypeError, ValueError, RecursionError) as error:
            fault = TaskFault(code="result_not_json", detail=f"The handler's result is not JSON: {error}")
            return Outcome(RunStatus.FAILED, error=fault, cost_cents=cost)
        if size > RESULT_LIMIT_BYTES:
            detail = f"The result is {size} bytes; at most {RESULT_LIMIT_BYTES}: return a reference instead."
            return Outcome(RunStatus.FAILED, error=TaskFault(code="result_too_large", detail=detail), cost_cents=cost)
        return Outcome(RunStatus.SUCCEEDED, result_json=text, cost_cents=cost)

    def _fault(self, status: RunStatus, error: AgentError, *, retryable: bool = False) -> Outcome:
        cost = min(max(0, error.cost_cents), self._price.maximum)
        return Outcome(
            status, error=TaskFault(code=error.code, detail=error.detail, retryable=retryable), cost_cents=cost
        )
