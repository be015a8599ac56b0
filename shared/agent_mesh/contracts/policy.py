"""The policy's contract: what it is asked, and how it answers. snake_case on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from agent_mesh.contracts.audit import TransactionId
from agent_mesh.contracts.values import JsonObject, Strict, Tolerant

TxId = TransactionId


class AccessIntent(Strict):
    """`POST /evaluate`, and a message on relay topic `access.intent`: who wants what, in which circumstances."""

    model_config = ConfigDict(alias_generator=None)

    tx_id: TxId | None = Field(default=None, description="Given by the mesh when missing.")
    subject: JsonObject = Field(description="Who wants it.")
    resource: JsonObject = Field(description="What is wanted, and for what.")
    context: JsonObject = Field(description="The circumstances.")


class PolicyAnswer(Tolerant):
    """The answer to `POST /evaluate`."""

    model_config = ConfigDict(alias_generator=None)

    tx_id: TxId = Field(description="The transaction.")
    decision: Literal["allow", "deny"] = Field(description="What was decided.")
    obligations: JsonObject = Field(description="What the subject is bound to; empty on a denial.")
    risk_after: float = Field(description="The session's risk from now on.")
    explanation: str = Field(description="The decision in words.")
    policy_ref: str = Field(description="`FILE#RULE` that decided.")
    ts: float = Field(description="Unix seconds at which it was decided.")
    reasons: list[str] = Field(default=[], description="Stable codes of what speaks against it; empty on an allow.")
    policy_version: str = Field(default="", description="Hash of the rules that decided.")
    digest: str | None = Field(
        default=None,
        description="Hash of policy version, kind of decision and input: the same gives the same decision.",
    )


Version = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|packaged)$")]
PolicyKind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class RepeatRequest(Strict):
    """`POST /evaluate/repeat`: a decision of old, and what it was about."""

    model_config = ConfigDict(alias_generator=None)

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] = Field(description="The decision's digest.")
    policy_version: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] = Field(
        description="Hash of the rules that decided."
    )
    kind: PolicyKind = Field(default="access", description="What kind of decision it was.")
    input: JsonObject = Field(
        description="What was asked: for access `subject`, `resource` and `context`, without `tx_id`."
    )
    decision: Literal["allow", "deny"] | None = Field(default=None, description="What is said to have been decided.")


class RepeatAnswer(Tolerant):
    """Whether the same is decided again."""

    model_config = ConfigDict(alias_generator=None)

    repeats: bool = Field(description="True if the digest is that of the input, and the decision is the one named.")
    digest_matches: bool = Field(description="Whether version, kind and input have this digest.")
    decision: Literal["allow", "deny"] = Field(description="What that version decides about the input.")
    reasons: list[str] = Field(description="Stable codes of what speaks against it.")
    obligations: JsonObject = Field(description="What the subject is bound to; empty on a denial.")
    risk_after: float | None = Field(default=None, description="The session's risk from now on, where a rule says it.")
    policy_ref: str = Field(description="`FILE#RULE` that decided.")


class LookedAt(Tolerant):
    """One value that a rule looked at: of the input, or of another rule."""

    model_config = ConfigDict(alias_generator=None)

    path: str = Field(description="`input.…`, or the name of a rule.")
    present: bool = Field(description="False for what is missing, or undefined.")
    value: JsonValue | None = Field(default=None, description="The value; missing where it is more than 1 KiB.")


class TriedRule(Tolerant):
    """One rule body, and how it went."""

    model_config = ConfigDict(alias_generator=None)

    rule: str = Field(description="`FILE#RULE`.")
    line: int = Field(description="Where it begins in its file.")
    kind: Literal["rule", "else", "default", "function"] = Field(
        description="A `function` is tried where it is called, and `default` holds where no other body does."
    )
    held: bool | None = Field(default=None, description="Whether it held; missing for a function.")
    failed: str | None = Field(default=None, description="The first expression that did not hold.")
    fault: str | None = Field(default=None, description="Code, where it could not be evaluated.")
    looked_at: list[LookedAt] = Field(default=[], description="What it looked at.")


class ExplainAnswer(Tolerant):
    """`POST /evaluate/explain`: the decision, and every rule that it may depend on."""

    model_config = ConfigDict(alias_generator=None)

    answer: PolicyAnswer = Field(description="What `POST /evaluate` answers. Nothing was recorded.")
    rules: list[TriedRule] = Field(description="In the order of files and lines.")
    complete: bool = Field(description="False where time ran out, or the parts do not add up to the decision.")


class PolicyVersion(Tolerant):
    """A version of the mesh's policy."""

    model_config = ConfigDict(alias_generator=None)

    version: Version = Field(description="Hash of the rules, or `packaged`.")
    release: str = Field(description="What people call it.")
    tests: int = Field(description="How many tests it passed.")
    uploaded_at: str | None = Field(default=None, description="RFC 3339, UTC; missing for the packaged one.")
    uploaded_by: str | None = Field(default=None, description="E-mail of who uploaded it.")
    size_bytes: int | None = Field(default=None, description="Bytes as JSON.")


class PolicyVersionDetail(PolicyVersion):
    """A version with its content."""

    bundle: JsonObject = Field(description="The bundle, as it was uploaded.")


class PolicyState(Tolerant):
    """What is in force, and which versions there are."""

    model_config = ConfigDict(alias_generator=None)

    active: Version = Field(description="The version in force; `packaged` is the bundle in the functions' own package.")
    packaged: Version = Field(description="Hash of the bundle in this function's package.")
    shadow: Version | None = Field(default=None, description="The version that is compared with it, without effect.")
    previous: list[Version] = Field(description="What was in force before, the latest last.")
    revision: int = Field(
        description="Counts the changes; give it with a change to be sure that nobody else was faster."
    )
    changed_at: str | None = Field(default=None, description="When it was changed: RFC 3339, UTC.")
    changed_by: str | None = Field(default=None, description="E-mail of who changed it.")
    versions: list[PolicyVersion] = Field(default=[], description="The 50 latest uploads, newest first.")


class PolicyChange(Strict):
    """The condition of a change."""

    model_config = ConfigDict(alias_generator=None)

    revision: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Refuse with 409 unless this is the revision still."
    )
