"""Decisions: what a bundle says of an input, or the denial that stands for its silence. Nothing here raises.

A decision is a function of the bundle's version, the kind and the input; its digest names all three, so that anybody
who has them can decide again and compare.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from agent_mesh.contracts.policy import AccessIntent, PolicyAnswer
from agent_mesh.contracts.values import canonical_json
from agent_mesh.policy.bundles import Bundle
from agent_mesh.policy.engine import Engine
from agent_mesh.policy.errors import NoAnswer, Refusal

ACCESS: Final = "access"
DISPATCH: Final = "dispatch"
HIGHEST_RISK: Final = 100
ENGINE_REF: Final = "engine#refused"
"""The policy reference of a denial that no rule made."""

_OBLIGATIONS_LIMIT_BYTES: Final = 16 * 1024

_OUT_OF_TIME: Final = frozenset({str(Refusal.TIMED_OUT), str(Refusal.OVERLOADED)})

ReasonCode = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Verdict(BaseModel):
    """What a `decision` rule must be: anything else is a denial."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    allow: bool
    reasons: tuple[ReasonCode, ...] = Field(strict=False, max_length=64)
    obligations: dict[str, JsonValue]
    policy_ref: str = Field(pattern=r"^[A-Za-z0-9_./-]+#[A-Za-z0-9_./-]+$")
    risk_after: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.allow and self.reasons:
            message = "an allow has no reasons against it"
            raise ValueError(message)
        if not self.allow and self.obligations:
            message = "a denial obliges to nothing"
            raise ValueError(message)
        if len(canonical_json(self.obligations).encode()) > _OBLIGATIONS_LIMIT_BYTES:
            message = "obligations are more than an event can carry"
            raise ValueError(message)
        return self


class Decision(BaseModel):
    """One decision, complete: it explains itself and can be made again."""

    model_config = ConfigDict(frozen=True)

    kind: str
    allow: bool
    reasons: tuple[str, ...] = ()
    obligations: dict[str, JsonValue] = {}
    risk_after: float | None = None
    policy_ref: str
    policy_version: str
    digest: str | None = Field(description="None only if the input is too much or no JSON, so that it has no hash.")
    explanation: str

    @property
    def out_of_time(self) -> bool:
        """True for a denial that no rule made, only a want of time: asked again, the rules may well allow."""
        return bool(_OUT_OF_TIME.intersection(self.reasons)) and self.policy_ref == ENGINE_REF


class Policy:
    """One bundle in force. Threads may share it."""

    def __init__(self, bundle: Bundle, engine: Engine | None = None) -> None:
        """Compile the bundle, unless an engine of it is given; raise `BundleRefused` if it is unfit."""
        self.bundle: Final = bundle
        self.version: Final = bundle.version
        self._engine = engine or Engine(bundle)

    def decide(self, kind: str, value: JsonValue) -> Decision:
        """Return the bundle's decision of this kind, a denial whenever there is no clear one."""
        digest = None
        try:
            text = self._engine.read(value)
            digest = decision_digest(self.version, kind, text.canonical)
            verdict = _verdict(self._engine.evaluate_text(self.bundle.entrypoint(kind), text))
        except NoAnswer as refused:
            return self._denied(kind, digest, refused)
        return Decision(
            kind=kind,
            policy_version=self.version,
            digest=digest,
            explanation=_explanation(verdict),
            **verdict.model_dump(),
        )

    def repeats(self, decision: Decision, value: JsonValue) -> bool:
        """Tell whether this bundle, asked again, decides the same in every field."""
        return self.decide(decision.kind, value) == decision

    def close(self) -> None:
        self._engine.close()

    def _denied(self, kind: str, digest: str | None, refused: NoAnswer) -> Decision:
        return Decision(
            kind=kind,
            allow=False,
            reasons=(str(refused.code),),
            policy_ref=ENGINE_REF,
            policy_version=self.version,
            digest=digest,
            explanation=f"Denied, because the policy gave no answer: {refused.detail}",
        )


def decision_digest(policy_version: str, kind: str, canonical_input: str) -> str:
    """Return `sha256:` and the hash of the version, the kind and the input; each is written so that none runs over."""
    content = canonical_json([policy_version, kind, canonical_input])
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def access_input(intent: AccessIntent) -> JsonValue:
    """Return what an intent asks; its `tx_id` names the asking and decides nothing."""
    return {"subject": intent.subject, "resource": intent.resource, "context": intent.context}


def access_answer(intent: AccessIntent, tx_id: str, decision: Decision, unix_seconds: float) -> PolicyAnswer:
    """Return the wire form of a decision about an intent."""
    risk = decision.risk_after
    return PolicyAnswer(
        tx_id=tx_id,
        decision="allow" if decision.allow else "deny",
        obligations=decision.obligations,
        risk_after=_risk_before(intent) if risk is None else risk,
        explanation=decision.explanation,
        policy_ref=decision.policy_ref,
        ts=unix_seconds,
        reasons=list(decision.reasons),
        policy_version=decision.policy_version,
        digest=decision.digest,
    )


def _risk_before(intent: AccessIntent) -> float:
    """Return the session's risk when no rule could say it: a denial leaves it as it was."""
    risk = intent.context.get("session_risk")
    if not isinstance(risk, (int, float)) or isinstance(risk, bool):
        return HIGHEST_RISK
    try:
        return float(risk)
    except OverflowError:  # JSON's whole numbers have no end
        return HIGHEST_RISK


def _verdict(value: JsonValue) -> Verdict:
    try:
        return Verdict.model_validate(value)
    except ValidationError as error:
        wrong = sorted({".".join(map(str, fault["loc"])) or "the whole" for fault in error.errors()})
        message = f"The rule's value is no decision: {', '.join(wrong)} does not fit."
        raise NoAnswer(Refusal.NOT_A_DECISION, message) from error


def _explanation(verdict: Verdict) -> str:
    if verdict.allow:
        return f"Allowed by {verdict.policy_ref}."
    return f"Denied by {verdict.policy_ref}: {', '.join(verdict.reasons) or 'no rule allows it'}."
