"""A dispatch as the caller says it, and as the contract wants it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypedDict, TypeVar, Unpack

from pydantic import BaseModel, JsonValue, ValidationError

from agent_mesh.client._errors import RequestInvalid
from agent_mesh.contracts.problems import FieldFault
from agent_mesh.contracts.tasks import BATCH_LIMIT, DispatchRequest, Mode

DEFAULT_TTL_S: Final = 60.0
BATCH_BYTES: Final = 1_500_000
"""A function takes bodies of 2 MiB."""

Body = TypeVar("Body", bound=BaseModel)


class _Budget(TypedDict):
    budget_cents: int


class DispatchOptions(_Budget, total=False):
    """What `dispatch` takes by name; only `budget_cents` must be given.

    `ttl_s` counts seconds from now and is 60 unless `ttl`, an absolute Unix time, is given; `not_before` is an
    absolute Unix time as well. The rest is as in `contracts.tasks.DispatchRequest`.
    """

    ttl_s: float
    ttl: float
    idempotency_key: str | None
    mode: Mode | str
    callback_url: str | None
    trace_id: str | None
    not_before: float | None


def dispatch_request(
    agent: str, payload: Mapping[str, JsonValue], **options: Unpack[DispatchOptions]
) -> DispatchRequest:
    """Return the request that these values make; raise `RequestInvalid`."""
    fields: dict[str, Any] = dict(options)
    life_s = fields.pop("ttl_s", None)
    if life_s is not None and "ttl" in fields:
        raise RequestInvalid([FieldFault(field="ttl", message="give ttl or ttl_s, not both")])
    fields.setdefault("ttl", time.time() + (DEFAULT_TTL_S if life_s is None else life_s))
    return checked(DispatchRequest, {"agent": agent, "payload": dict(payload), **fields})


def checked(model: type[Body], fields: dict[str, Any]) -> Body:
    """Return `model` of these fields; raise `RequestInvalid`, which names the ones at fault."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise RequestInvalid.of(error) from error


def batches(requests: Iterable[DispatchRequest]) -> Iterator[list[DispatchRequest]]:
    """Yield the requests in batches that one call may carry: at most 500 tasks and 1.5 MB."""
    batch: list[DispatchRequest] = []
    size = 0
    for request in requests:
        bytes_more = len(request.model_dump_json(by_alias=True).encode())
        if batch and (len(batch) == BATCH_LIMIT or size + bytes_more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += bytes_more
    if batch:
        yield batch
