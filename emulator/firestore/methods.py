"""The gRPC surface: which method is served by what, how requests are parsed, and how refusals become statuses.

Requests and answers pass gRPC as bytes, so that a request which cannot be parsed is answered as INVALID_ARGUMENT and a
stored document is answered as it is stored.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc

from emulator.firestore import protocol
from emulator.firestore.engine import Engine
from emulator.firestore.faults import suffer
from emulator.firestore.listen import Listener
from emulator.firestore.protocol import Message
from emulator.firestore.reads import Reads
from emulator.firestore.requests import parse
from emulator.firestore.service import Service
from emulator.firestore.write_stream import write_stream
from emulator.refusals import Refusal
from emulator.usage.attribution import Attributed

SERVICE: Final = "google.firestore.v1.Firestore"
Context: TypeAlias = Any
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Once: TypeAlias = Callable[[Message], Awaitable[Message | bytes]]
BothWays: TypeAlias = Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]
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
_NO_PIPELINES: Final = "This emulator has no pipelines (ExecutePipeline); use RunQuery and RunAggregationQuery."
_STREAMED: Final = ("BatchGetDocuments", "RunQuery", "RunAggregationQuery")


def handlers(engine: Engine) -> grpc.GenericRpcHandler:
    """All methods of the service."""
    service, reads = Service(engine), Reads(engine)
    table = {name: _once(engine, name, getattr(service, name)) for name in _UNARY}
    table |= {name: _streamed(engine, name, getattr(reads, name)) for name in _STREAMED}
    table["Listen"] = _both_ways(engine, "Listen", lambda requests: Listener(engine).run(requests))
    table["Write"] = _both_ways(engine, "Write", lambda requests: write_stream(engine, requests))
    table["ExecutePipeline"] = grpc.unary_stream_rpc_method_handler(_no_pipelines)
    return Attributed(grpc.method_handlers_generic_handler(SERVICE, table))


def _once(engine: Engine, name: str, method: Once) -> Handler:
    kind = getattr(protocol, f"{name}Request")

    async def answer(request: bytes, context: Context) -> bytes:
        fault = engine.faults.take(name)
        engine.usage.began(name)
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


def _streamed(engine: Engine, name: str, method: Stream) -> Handler:
    kind = getattr(protocol, f"{name}Request")

    async def answer(request: bytes, context: Context) -> AsyncIterator[bytes]:
        fault = engine.faults.take(name)
        engine.usage.began(name)
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


async def _no_pipelines(_request: bytes, context: Context) -> AsyncIterator[bytes]:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, _NO_PIPELINES)
    yield b""


def _both_ways(engine: Engine, name: str, method: BothWays) -> Handler:
    async def answer(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        engine.usage.began(name)
        try:
            await suffer(engine.faults.take(name), before=True)
            async with aclosing(method(requests)) as responses:
                async for response in responses:
                    yield response
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.message)

    return grpc.stream_stream_rpc_method_handler(answer)
