"""What policy is asked about a run that no orchestrator asked about: of kind `dispatch`, as for a task.

The package's policy and its engine are loaded when the first such run comes: an agent that is only given tasks, which
the orchestrator asked about, never pays for them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from agent_mesh.agents.admission import Price
from agent_mesh.agents.records import Outcome
from agent_mesh.agents.runs import WantedRun
from agent_mesh.contracts.problems import Unavailable
from agent_mesh.contracts.runs import RunMessage, RunRequest, RunStatus
from agent_mesh.contracts.tasks import Mode
from agent_mesh.platform.clock import moment
from agent_mesh.platform.function_parts import FunctionParts

if TYPE_CHECKING:
    from agent_mesh.policy.active import ActivePolicy

LONGEST_RUN_S: Final = 3600.0
"""Cloud Run ends every request after 60 minutes: the limit of a run that has none of its own."""


class RunPermission:
    """Asks policy about direct runs."""

    def __init__(self, parts: FunctionParts, price: Price) -> None:
        """Nothing is loaded yet."""
        self._parts = parts
        self._price = price
        self._lock = threading.Lock()
        self._policy: ActivePolicy | None = None

    def denial_of(self, wanted: WantedRun, request: RunRequest | RunMessage, mode: Mode) -> Outcome | None:
        """Return how the run ends without starting, None if it may start.

        Raises `Unavailable` if it is not known which policy is in force, or if the rules took too long.
        """
        from agent_mesh.policy import DISPATCH
        from agent_mesh.policy.subjects import subject_of

        now = moment(self._parts.clock.now()).timestamp()
        asked: dict[str, JsonValue] = {
            "subject": subject_of(wanted.caller, self._parts.settings),
            "resource": {"agent": wanted.agent, "mode": mode.value},
            "context": {
                "budget_cents": self._price.maximum if request.budget_cents is None else request.budget_cents,
                "ttl": now + LONGEST_RUN_S if request.ttl is None else request.ttl,
                "now": now,
            },
        }
        decision = self._loaded().decide(DISPATCH, asked)
        if decision.out_of_time:
            raise Unavailable(decision.explanation, retry_after_s=1)
        return None if decision.allow else Outcome.refused(RunStatus.REJECTED, "policy_denied", decision.explanation)

    def _loaded(self) -> ActivePolicy:
        from agent_mesh.policy.active import ActivePolicy

        with self._lock:
            if self._policy is None:
                self._policy = ActivePolicy.of(self._parts)
            return self._policy
