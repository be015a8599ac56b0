"""Why policy decided as it did: the rules that decided then, tried again one by one with what was asked then.

Of an access decision the ledger has what was asked, of a task its own document. Whether that is all of it the digest
says: it names version, kind and input, so an explanation of anything else is never given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from agent_mesh.contracts.policy import TriedRule
from agent_mesh.contracts.problems import NotFound
from agent_mesh.dashboard._story import Work
from agent_mesh.dispatch.permission import asked_about
from agent_mesh.ledger.reader import LedgerReader
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.policy import ACCESS, DISPATCH, Decision, Policy
from agent_mesh.policy.active import ActivePolicy
from agent_mesh.policy.catalogue import PolicyCatalogue
from agent_mesh.policy.evaluation import DECIDED, REQUESTED
from agent_mesh.policy.explaining import Explainer
from agent_mesh.policy.repeating import Repeater

_HASH: Final = r"^sha256:[0-9a-f]{64}$"
_ASKED: Final = ("subject", "resource", "context")


class ExplainedAnswer(BaseModel):
    """The decision, made again; nothing was recorded."""

    tx_id: str = Field(description="The transaction or task.")
    kind: str = Field(description="`access`, or `dispatch` for a task.")
    decision: str = Field(description="`allow` or `deny`.")
    reasons: list[str] = Field(description="Stable codes of what speaks against it; empty on an allow.")
    obligations: dict[str, JsonValue] = Field(description="What the subject is bound to; empty on a denial.")
    risk_after: float | None = Field(description="The session's risk from then on, where a rule says it.")
    explanation: str = Field(description="The decision in words.")
    policy_ref: str = Field(description="`FILE#RULE` that decided.")
    policy_version: str = Field(description="Hash of the rules that decided.")
    digest: str = Field(description="Hash of version, kind of decision and input.")


class ExplainedDecision(BaseModel):
    """The same as `POST /evaluate/explain` gives: the decision, and every rule that it may depend on."""

    answer: ExplainedAnswer = Field(description="What was decided.")
    rules: list[TriedRule] = Field(description="In the order of files and lines.")
    complete: bool = Field(description="False where time ran out, or the parts do not add up to the decision.")


class _Decided(BaseModel):
    """What has to be known of a decision to make it again."""

    model_config = ConfigDict(extra="ignore", strict=True)

    policy_version: Annotated[str, Field(pattern=_HASH)]
    digest: Annotated[str, Field(pattern=_HASH)]


@dataclass(frozen=True)
class _Asked:
    """A decision of old: what it was about, and the digest that says whether this is all of it."""

    kind: str
    value: JsonValue
    version: str
    digest: str


class Explanations:
    """Explains decisions of one mesh."""

    def __init__(self, parts: FunctionParts, ledger: LedgerReader, work: Work) -> None:
        """Read from the mesh's database; nothing connects yet."""
        self._ledger = ledger
        self._work = work
        self._repeater = Repeater(ActivePolicy.of(parts), PolicyCatalogue(parts))
        self._explainer = Explainer()

    def explain(self, tx_id: str) -> ExplainedDecision:
        """Return the explanation of a transaction's newest decision.

        Raises:
            NotFound: there is none, or what it was about was not kept.
            Conflict: the rules that decided then cannot be loaded any more.
            Unavailable: it is not known yet which policy is in force.
        """
        for asked in (*self._of_task(tx_id), *self._of_transaction(tx_id)):
            policy = self._repeater.policy(asked.version)
            decision = policy.decide(asked.kind, asked.value)
            if decision.digest == asked.digest:
                return self._explained(tx_id, policy, decision, asked)
        raise NotFound(f"There is no decision about {tx_id}, or what it was about was not kept.")

    def _of_task(self, task_id: str) -> Iterator[_Asked]:
        task = self._work.task(task_id)
        if task and task.policy and task.policy.digest:
            mark = task.policy
            yield _Asked(DISPATCH, asked_about(task, mark.groups), mark.version, mark.digest or "")

    def _of_transaction(self, tx_id: str) -> Iterator[_Asked]:
        """Yield what the newest decision may have been about, the newest asking first."""
        records = self._ledger.records_of(tx_id).records
        told = [(record.entry.event, _data(record.entry.payload)) for record in records]
        decided = _decided(next((data for event, data in reversed(told) if event == DECIDED), {}))
        if decided is None:
            return
        for event, data in reversed(told):
            if event == REQUESTED and data.keys() >= set(_ASKED):
                yield _Asked(ACCESS, {name: data[name] for name in _ASKED}, decided.policy_version, decided.digest)

    def _explained(self, tx_id: str, policy: Policy, decision: Decision, asked: _Asked) -> ExplainedDecision:
        explained = self._explainer.explain(policy.bundle, decision, asked.value)
        answer = ExplainedAnswer(
            tx_id=tx_id,
            kind=asked.kind,
            decision="allow" if decision.allow else "deny",
            reasons=list(decision.reasons),
            obligations=decision.obligations,
            risk_after=decision.risk_after,
            explanation=decision.explanation,
            policy_ref=decision.policy_ref,
            policy_version=decision.policy_version,
            digest=asked.digest,
        )
        return ExplainedDecision(answer=answer, rules=explained.rules, complete=explained.complete)


def _decided(data: Mapping[str, JsonValue]) -> _Decided | None:
    try:
        return _Decided.model_validate(data)
    except ValidationError:  # anybody who may append to the ledger may have written it
        return None


def _data(payload: Mapping[str, JsonValue] | None) -> Mapping[str, JsonValue]:
    """Return the data of an event, as its entry in the ledger has it."""
    data = (payload or {}).get("data")
    return data if isinstance(data, dict) else {}
