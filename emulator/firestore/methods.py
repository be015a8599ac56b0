"""The gRPC surface: which method is served by what, how requests are parsed, and how refusals become statuses.

Requests and answers pass gRPC as bytes, so that a request which cannot be parsed is answered as INVALID_ARGUMENT and a
stored document is answered as it is stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from emulator.firestore import protocol
from emulator.firestore.engine import Engine
from emulator.firestore.faults import suffer
from emulator.firestore.protocol import Message
from emulator.firestore.reads import Reads
from emulator.firestore.refusals import Refusal, invalid
from emulator.firestore.service import Service

SERVICE: Final = "google.firestore.v1.Firestore"
LARGEST_REQUEST: Final = 10 * 1024 * 1024
Context: TypeAlias = Any
Once: TypeAlias = Callable[[Message], Awaitable[Message | bytes]]
Stream: TypeAlias = Callable[[Message], AsyncIterator[bytes]]

_UNARY: Final = (
    "GetDocument",
    "ListDocuments",
    "ListCollectionIds",
    "CreateDocument",
    "UpdateDocument",
    "DeleteDocument",
    "BeginTransaction",
    "Rollback",
    "Commit",
    "BatchWrite",
    "PartitionQuery",
)
_STREAMED: Final = ("BatchGetDocuments", "RunQuery", "RunAggregationQuery")


def handlers(engine: Engine) -> grpc.GenericRpcHandler:
    """All methods of the service."""
    service, reads = Service(engine), Reads(engine)
    table = {name: _once(engine, name, getattr(service, name)) for name in _UNARY}
    table |= {name: _streamed(engine, name, getattr(reads, name)) for name in _STREAMED}
    return grpc.method_handlers_generic_handler(SERVICE, table)


def _once(engine: Engine, name: str, method: Once) -> grpc.RpcMethodHandler:
    kind = getattr(protocol, f"{name}Request")

    async def answer(request: bytes, context: Context) -> bytes:
        fault = engine.faults.take(name)
        engine.usage.requests[name] += 1
        try:
            if fault:
                await suffer(fault, before=True)
            response = await method(parse(kind, request))
            if fault:
                await suffer(fault, before=False)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.message)
            raise
        return response if isinstance(response, bytes) else response.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(answer)


def _streamed(engine: Engine, name: str, method: Stream) -> grpc.RpcMethodHandler:
    kind = getattr(protocol, f"{name}Request")

    async def answer(request: bytes, context: Context) -> AsyncIterator[bytes]:
        fault = engine.faults.take(name)
        engine.usage.requests[name] += 1
        try:
            if fault:
                await suffer(fault, before=True)
            async for response in method(parse(kind, request)):
                yield response
            if fault:
                await suffer(fault, before=False)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.message)

    return grpc.unary_stream_rpc_method_handler(answer)


def parse(kind: Message, request: bytes) -> Message:
    """Read a request. Raises Refusal for what is no such message, or is larger than Firestore takes."""
    if len(request) > LARGEST_REQUEST:
        raise invalid(f"Request payload size exceeds the limit: {LARGEST_REQUEST} bytes.")
    try:
        return kind.FromString(request)
    except (DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"The request is not a {kind.DESCRIPTOR.full_name}: {error}") from None
