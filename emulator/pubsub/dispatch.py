"""From gRPC calls to handlers and back: bytes in, bytes or a status out.

Requests are parsed here rather than by gRPC, so that a malformed one is answered with
INVALID_ARGUMENT and not with a stack trace.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode

from emulator.events import log_event
from emulator.pubsub import pulling, service_publisher, service_subscriber, streaming
from emulator.pubsub.ack_refusal import AckRefusal
from emulator.pubsub.broker import Broker
from emulator.pubsub.protos import Proto
from emulator.refusals import Refusal

_RARE: Final = {
    "google.pubsub.v1.SchemaService": "emulator.pubsub.service_schema",
    "google.iam.v1.IAMPolicy": "emulator.pubsub.service_iam",
}
"""Services that few programs use, and the modules that are imported when they are called."""

Context = grpc.aio.ServicerContext[bytes, bytes]
Unary = Callable[[bytes, Any], Awaitable[bytes]]
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


class Services(grpc.GenericRpcHandler):
    """All methods, by their paths."""

    def __init__(self, broker: Broker) -> None:
        """Each serves the same broker."""
        self._broker = broker
        self._rare = dict(_RARE)
        self._methods: dict[str, Handler] = {}
        for service in (service_publisher, service_subscriber):
            self._add(service)
        path = f"/{service_subscriber.SERVICE}/"
        self._methods[path + "Pull"] = grpc.unary_unary_rpc_method_handler(_pull(broker))
        self._methods[path + "StreamingPull"] = grpc.stream_stream_rpc_method_handler(_stream(broker))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Find a method; gRPC answers UNIMPLEMENTED for None."""
        path = handler_call_details.method
        found = self._methods.get(path)
        if found is None and (rare := self._rare.pop(path[1:].partition("/")[0], None)):
            self._add(importlib.import_module(rare))
            found = self._methods.get(path)
        return found

    def _add(self, service: ModuleType) -> None:
        for name, (kind, handler) in service.methods(self._broker).items():
            call: Handler = grpc.unary_unary_rpc_method_handler(_unary(self._broker, name, kind, handler))
            self._methods[f"/{service.SERVICE}/{name}"] = call


def _unary(broker: Broker, name: str, kind: Proto, handler: Callable[[Proto], Proto]) -> Unary:
    parse, faults, began = kind.FromString, broker.faults, broker.usage.began

    async def call(data: bytes, context: Context) -> bytes:
        began(name)
        try:
            if faults.armed:
                await faults.strike(name)
            answer: bytes = handler(parse(data)).SerializeToString()
        except Exception as error:  # noqa: BLE001  every failure has a status
            return await _refuse(context, name, error)
        return answer

    return call


def _pull(broker: Broker) -> Unary:
    parse, faults, began = service_subscriber.PullRequest.FromString, broker.faults, broker.usage.began

    async def call(data: bytes, context: Context) -> bytes:
        began("Pull")
        try:
            if faults.armed:
                await faults.strike("Pull")
            request = parse(data)
            subscription = broker.subscription(request.subscription)
            answer = await pulling.pull(subscription, request, _seconds_left(context))
            return bytes(answer.SerializeToString())
        except Exception as error:  # noqa: BLE001  every failure has a status
            return await _refuse(context, "Pull", error)

    return call


def _stream(broker: Broker) -> Callable[[Any, Context], Awaitable[None]]:
    async def call(_requests: Any, context: Context) -> None:  # noqa: ANN401  the reader API is used instead
        broker.usage.began("StreamingPull")

        async def receive() -> object:
            data: object = await context.read()
            return streaming.EndOfStream if data is grpc.aio.EOF else data

        try:
            if broker.faults.armed:
                await broker.faults.strike("StreamingPull")
            await streaming.serve_stream(broker, receive, context.write)
        except Exception as error:  # noqa: BLE001  every failure has a status
            await _refuse(context, "StreamingPull", error)

    return call


async def _refuse(context: Context, method: str, error: Exception) -> bytes:
    match error:
        case AckRefusal():
            return await context.abort(error.code, error.message, error.trailers())
        case Refusal():
            return await context.abort(error.code, error.message)
        case DecodeError():
            return await context.abort(StatusCode.INVALID_ARGUMENT, "The request is not a valid protobuf message")
        case _:
            log_event("pubsub.failed", method=method, error=f"{type(error).__name__}: {error}")
            return await context.abort(StatusCode.INTERNAL, f"{method} failed: {type(error).__name__}: {error}")


def _seconds_left(context: Context) -> float | None:
    left: Any = context.time_remaining()
    return None if left is None else float(left)
