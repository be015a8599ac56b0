"""The policy function's routes."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from agent_mesh.contracts.policy import (
    AccessIntent,
    ExplainAnswer,
    PolicyAnswer,
    PolicyChange,
    PolicyState,
    PolicyVersion,
    PolicyVersionDetail,
    RepeatAnswer,
    RepeatRequest,
    Version,
)
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.platform.app import PUSH_BODY_LIMIT_BYTES, FunctionApp, Reply, current_identity
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.policy.active import ActivePolicy
from agent_mesh.policy.bundles import Bundle
from agent_mesh.policy.catalogue import PolicyCatalogue
from agent_mesh.policy.decisions import ACCESS, Decision, access_answer, access_input
from agent_mesh.policy.evaluation import AccessDecisions
from agent_mesh.policy.explaining import Explainer
from agent_mesh.policy.repeating import Repeater

_CREATED = 201


class _VersionPath(BaseModel):
    version: Version


@dataclass(frozen=True)
class _Function:
    """What the routes are wired to."""

    parts: FunctionParts
    policy: ActivePolicy
    decisions: AccessDecisions
    catalogue: PolicyCatalogue
    explainer: Explainer
    repeater: Repeater


def policy_app(parts: FunctionParts) -> FunctionApp:
    """Return the policy function's app, wired from `parts`."""
    policy = ActivePolicy.of(parts)
    catalogue = PolicyCatalogue(parts)
    decisions = AccessDecisions(policy, parts.events, parts.clock)
    function = _Function(parts, policy, decisions, catalogue, Explainer(), Repeater(policy, catalogue))
    app = parts.app("policy", "Decides access intents by the rules in force, and keeps the versions of these rules.")
    _evaluation_routes(app, function)
    _push_routes(app, function)
    _version_routes(app, function)
    _change_routes(app, function)
    return app


def _evaluation_routes(app: FunctionApp, function: _Function) -> None:
    settings = function.parts.settings
    access = function.parts.caller_access(settings.callers, settings.operators)

    @app.route("POST", "/evaluate", access=access, answers={200: PolicyAnswer}, summary="Decide an access intent")
    def evaluate(body: AccessIntent) -> PolicyAnswer:
        return function.decisions.evaluate(body, current_identity().email)

    @app.route(
        "POST",
        "/evaluate/explain",
        access=access,
        answers={200: ExplainAnswer},
        summary="Tell which rules an access intent meets, and why those fail that do; nothing is recorded",
    )
    def evaluate_explain(body: AccessIntent) -> ExplainAnswer:
        return _explained(function, body)

    @app.route(
        "POST",
        "/evaluate/repeat",
        access=access,
        answers={200: RepeatAnswer},
        summary="Tell whether a decision of any kind is made again; nothing is recorded",
    )
    def evaluate_repeat(body: RepeatRequest) -> RepeatAnswer:
        return function.repeater.repeat(body)


def _push_routes(app: FunctionApp, function: _Function) -> None:
    settings = function.parts.settings
    access = function.parts.push_access(settings.intent_pushers, settings.push_audience, verify=settings.push_verify)

    @app.route(
        "POST",
        "/pubsub/intents",
        access=access,
        answers={204: None},
        summary="Take an access intent from Pub/Sub",
        body_limit=PUSH_BODY_LIMIT_BYTES,
    )
    def pubsub_intents(body: PushEnvelope) -> None:
        function.decisions.evaluate_pushed(body)


def _version_routes(app: FunctionApp, function: _Function) -> None:
    access = function.parts.caller_access(function.parts.settings.operators)
    catalogue = function.catalogue

    @app.route("GET", "/policies", access=access, answers={200: PolicyState}, summary="The policy in force, and others")
    def policies() -> PolicyState:
        return catalogue.state()

    @app.route(
        "POST",
        "/policies",
        access=access,
        answers={201: PolicyVersion},
        summary="Upload a bundle that passes its tests",
    )
    def upload(body: Bundle) -> Reply:
        version = catalogue.upload(body, current_identity().email)
        return Reply(version, _CREATED, {"Location": f"/policies/{version.version}"})

    @app.route(
        "GET", "/policies/<version>", access=access, answers={200: PolicyVersionDetail}, summary="A version's rules"
    )
    def policy_version(path: _VersionPath) -> PolicyVersionDetail:
        return catalogue.detail(path.version)


def _change_routes(app: FunctionApp, function: _Function) -> None:
    access = function.parts.caller_access(function.parts.settings.operators)
    catalogue = function.catalogue

    @app.route(
        "POST", "/policies/<version>/activate", access=access, answers={200: PolicyState}, summary="Bring into force"
    )
    def activate(path: _VersionPath, body: PolicyChange) -> PolicyState:
        return catalogue.activate(path.version, body.revision, current_identity().email)

    @app.route(
        "POST",
        "/policies/<version>/shadow",
        access=access,
        answers={200: PolicyState},
        summary="Compare with the version in force, without effect",
    )
    def shadow(path: _VersionPath, body: PolicyChange) -> PolicyState:
        return catalogue.shadow(path.version, body.revision, current_identity().email)

    @app.route("POST", "/policies/unshadow", access=access, answers={200: PolicyState}, summary="Compare with nothing")
    def unshadow(body: PolicyChange) -> PolicyState:
        return catalogue.shadow(None, body.revision, current_identity().email)

    @app.route(
        "POST",
        "/policies/rollback",
        access=access,
        answers={200: PolicyState},
        summary="Bring the version before the last activation into force",
    )
    def rollback(body: PolicyChange) -> PolicyState:
        return catalogue.roll_back(body.revision, current_identity().email)


def _explained(function: _Function, intent: AccessIntent) -> ExplainAnswer:
    policy = function.policy.in_force().policy
    value = access_input(intent)
    decision: Decision = policy.decide(ACCESS, value)
    explained = function.explainer.explain(policy.bundle, decision, value)
    answer = access_answer(intent, intent.tx_id or "not-recorded", decision, function.parts.clock.now())
    return ExplainAnswer(answer=answer, rules=explained.rules, complete=explained.complete)
