"""The two endpoints of an agent function: `POST /run` for callers, `POST /pubsub/push` for the tasks topic."""

from __future__ import annotations

import json

from agent_mesh.agents.admission import Price, refusal_of
from agent_mesh.agents.control import AgentControls
from agent_mesh.agents.delivery import OutcomeSender, Topics
from agent_mesh.agents.execution import Execution, Handler, Ran
from agent_mesh.agents.messages import Asker, read_task_message
from agent_mesh.agents.permission import RunPermission
from agent_mesh.agents.records import Outcome
from agent_mesh.agents.runs import RunStore, WantedRun
from agent_mesh.budgets import Budgets
from agent_mesh.contracts.problems import AgentPaused, AttemptFailed, Busy, MeshError, Unavailable, error_with_code
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.runs import RunMessage, RunRequest, RunResponse, RunStatus
from agent_mesh.contracts.tasks import Mode
from agent_mesh.platform.app import PUSH_BODY_LIMIT_BYTES, FunctionApp, current_identity, trace_id
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.logs import join_trace, log
from agent_mesh.webhooks import Callbacks, DeliveryStatus


class AgentFunction:
    """One agent's routes and what they are wired to."""

    def __init__(self, name: str, description: str, price: Price, handler: Handler, parts: FunctionParts) -> None:
        """Wire the agent `name` from `parts`."""
        settings = parts.settings
        self._name = name
        self._price = price
        self._clock = parts.clock
        self._trusted = frozenset(settings.trusted_runners)
        self._asker = Asker(name, price)
        self._permission = RunPermission(parts, price)
        budgets = Budgets(parts.database, settings.agent_budget_cents)
        self._runs = RunStore(parts.database, budgets, parts.clock, settings.lease_seconds, settings.retention_days)
        self._controls = AgentControls(parts.database, parts.clock, settings.control_staleness_seconds)
        self._execution = Execution(self._runs, parts.clock, price, handler)
        self._callbacks = Callbacks(settings.webhook_secrets, settings.callback_allowed_hosts, parts.clock)
        topics = Topics(settings.results_topic, settings.topic(settings.dead_tasks_topic_id))
        self._sender = OutcomeSender(name, parts.publisher, topics, self._callbacks, parts.events, parts.clock)
        self.app = self._routes(parts, description)

    def _routes(self, parts: FunctionParts, description: str) -> FunctionApp:
        settings = parts.settings
        app = parts.app(self._name, description or f"Agent {self._name} of the mesh.")
        callers = parts.caller_access(settings.runners, settings.trusted_runners)
        pushers = parts.push_access(settings.task_pushers, settings.push_audience, verify=settings.push_verify)

        @app.route("POST", "/run", access=callers, answers={200: RunResponse}, summary="Run the agent once")
        def run(body: RunRequest) -> RunResponse:
            return self.run_for_caller(body)

        @app.route(
            "POST",
            "/pubsub/push",
            access=pushers,
            answers={204: None},
            summary="Take a task from Pub/Sub",
            body_limit=PUSH_BODY_LIMIT_BYTES,
        )
        def push(body: PushEnvelope) -> None:
            self.run_for_push(body)

        return app

    def run_for_caller(self, request: RunRequest) -> RunResponse:
        """Run for whoever calls `/run`; a refusal is a problem, a failed run is an answer."""
        caller = current_identity().email
        orchestrated = bool(request.task_id) and caller in self._trusted
        self._callbacks.check(request.callback_url)
        if self._controls.state(self._name).paused:
            raise AgentPaused(f"Agent {self._name} is paused; it takes work again after resume.")
        if orchestrated and request.task_id:
            wanted = self._asker.orchestrated(request, request.task_id)
        else:
            wanted = self._asker.called(request, caller, self._clock.now())
            self._refuse_unless_known(request, wanted)
        ran = self._execution.run(wanted, request, repeatable=not orchestrated)
        self._sender.tell(wanted.run_id, ran)
        if request.task_id and not ran.retryable:
            self._sender.publish(wanted.run_id, ran, request)
        answer = self._answer(ran, request)
        if orchestrated or ran.retryable:
            return answer
        called_back = self._sender.call_back(wanted.run_id, ran, request)
        delivered = None if called_back is None else called_back is DeliveryStatus.DELIVERED
        return answer.model_copy(update={"callback_delivered": delivered})

    def run_for_push(self, envelope: PushEnvelope) -> None:
        """Run for a pushed message. Returning acknowledges it; raising lets Pub/Sub deliver it again."""
        addressed_to = envelope.message.attributes.get("agent", self._name)
        if addressed_to != self._name:
            log("a message for another agent was delivered; its own subscription has it too", agent=addressed_to)
            return
        join_trace(envelope.message.attributes.get)
        request = read_task_message(envelope)
        self._callbacks.check(request.callback_url)
        crash_point("agent.delivered")
        if request.task_id:
            wanted = self._asker.orchestrated(request, request.task_id)
        else:
            wanted = self._asker.pushed(request, envelope, self._clock.now())
        if self._controls.state(self._name).paused:
            self._hold_back(wanted, request)
            return
        denial = None if request.task_id else self._permission.denial_of(wanted, request, Mode.PUBSUB)
        ran = self._run_pushed(wanted, request, denial)
        if ran is None:
            return
        self._sender.tell(wanted.run_id, ran)
        if ran.retryable:
            error = ran.outcome.error
            detail = f"Attempt {ran.attempt} failed: {error.detail if error else 'without a reason'}"
            raise AttemptFailed(detail)
        if request.task_id or not request.callback_url:
            self._sender.publish(wanted.run_id, ran, request)
        elif self._sender.call_back(wanted.run_id, ran, request) is DeliveryStatus.RETRY:
            detail = "The callback did not take the result; the message is delivered again and the callback made again."
            raise Unavailable(detail, retry_after_s=5)

    def _run_pushed(self, wanted: WantedRun, request: RunMessage, denial: Outcome | None) -> Ran | None:
        """Run; None where a task's run is in other hands: its lease, and the sweep after it, bring the result."""
        try:
            return self._execution.run(wanted, request, repeatable=True, denial=denial)
        except Busy as elsewhere:
            if request.task_id is None:
                raise
            log("the run is in other hands", run=wanted.run_id, reason=elsewhere.detail)
            return None

    def _hold_back(self, wanted: WantedRun, request: RunMessage) -> None:
        """Park a task until the agent resumes; a message without a task stays with Pub/Sub."""
        if request.task_id is None:
            raise AgentPaused(f"Agent {self._name} is paused; the message is delivered again later.", retry_after_s=30)
        self._runs.park(wanted)
        crash_point("agent.parked")

    def _refuse_unless_known(self, request: RunRequest, wanted: WantedRun) -> None:
        """Refuse a direct call without using up its key; a repeat of a call that was answered gets that answer."""
        refusal = self._refusal_of(request, wanted)
        if refusal is None:
            return
        known = self._runs.get(wanted.run_id)
        if known is not None and (known.outcome or known.alive(self._clock.now())):
            return
        raise refusal

    def _refusal_of(self, request: RunRequest, wanted: WantedRun) -> MeshError | None:
        refusal = refusal_of(request.ttl, request.budget_cents, self._price, self._clock.now())
        try:
            refusal = refusal or self._permission.denial_of(wanted, request, Mode.HTTP)
        except Unavailable as undecided:
            return undecided
        return error_with_code(refusal.error.code, refusal.error.detail) if refusal and refusal.error else None

    def _answer(self, ran: Ran, request: RunRequest) -> RunResponse:
        outcome = ran.outcome
        if outcome.error and outcome.status in {RunStatus.EXPIRED, RunStatus.REJECTED}:
            raise error_with_code(outcome.error.code, outcome.error.detail)
        return RunResponse(
            status=outcome.status,
            result=json.loads(outcome.result_json) if outcome.result_json else None,
            cost_cents=outcome.cost_cents,
            idempotent=ran.idempotent,
            attempt=ran.attempt,
            trace_id=request.trace_id or trace_id(),
            task_id=request.task_id,
            error=outcome.error,
        )
