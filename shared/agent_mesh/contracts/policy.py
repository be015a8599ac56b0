"""The policy's contract: what it is asked, and how it answers. snake_case on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from agent_mesh.contracts.values import JsonObject, Strict, Tolerant

TxId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]


class AccessIntent(Strict):
    """`POST /evaluate`, and a message on relay topic `access.intent`: who wants what, in which circumstances."""

    model_config = ConfigDict(alias_generator=None)

    tx_id: TxId | None = Field(default=None, description="Given by the mesh when missing.")
    subject: JsonObject
    resource: JsonObject
    context: JsonObject


class PolicyAnswer(Tolerant):
    """The answer to `POST /evaluate`."""

    model_config = ConfigDict(alias_generator=None)

    tx_id: TxId
    decision: Literal["allow", "deny"]
    obligations: JsonObject = Field(description="What the subject is bound to; empty on a denial.")
    risk_after: float = Field(description="The session's risk from now on.")
    explanation: str
    policy_ref: str = Field(description="`FILE#RULE` that decided.")
    ts: float = Field(description="Unix seconds at which it was decided.")
    reasons: list[str] = Field(default=[], description="Stable codes of what speaks against it; empty on an allow.")
    policy_version: str = Field(default="", description="Hash of the rules that decided.")
    digest: str | None = Field(
        default=None,
        description="Hash of policy version, kind of decision and input: the same gives the same decision.",
    )
