"""What the audit function is told. snake_case on the wire."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field

from agent_mesh.contracts.values import JsonObject, Strict

BATCH_LIMIT = 500

AuditId: TypeAlias = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
AuditActor: TypeAlias = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]


TransactionId: TypeAlias = Annotated[str, Field(pattern=r"^[\x21-\x2e\x30-\x7e][\x21-\x7e]{0,127}$")]
"""None begins with a slash: HTTP merges slashes, and `/tx/` with it would lead to another transaction."""


class _OnTheWire(Strict):
    model_config = ConfigDict(alias_generator=None)


class AuditRequest(_OnTheWire):
    """`POST /audit`: something that happened, to be kept for good."""

    tx_id: TransactionId = Field(description="The transaction, task or other thing that it belongs to.")
    event: AuditId = Field(description="What happened, such as `decision`. `mesh.` is the mesh's own.")
    actor: AuditActor = Field(description="Who did it, as the caller says; who calls is recorded beside it.")
    payload: JsonObject = Field(description="Anything; at most 256 KiB as JSON. Over about 4,000 bytes by its digest.")
    id: AuditId | None = Field(
        default=None,
        description="The caller's own name for it: the same again adds nothing. Without it every call adds an entry.",
    )


class AuditBatchRequest(_OnTheWire):
    """`POST /audit/batch`: several, in one commit."""

    entries: list[AuditRequest] = Field(min_length=1, max_length=BATCH_LIMIT, description="What happened, in order.")


class FsckRequest(_OnTheWire):
    """`POST /fsck`: which bundles of 256 entries are read again."""

    first_bundle: int = Field(default=0, ge=0, lt=1 << 55, description="Index of the first.")
    bundles: int = Field(default=64, ge=1, le=256, description="How many at most.")
