"""From gRPC calls to handlers and back: bytes in, bytes or a status out.

Requests are parsed here rather than by gRPC, so that a malformed one is answered with
INVALID_ARGUMENT and not with a stack trace.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode

from emulator.events import log_event
from emulator.pubsub import pulling, service_iam, service_publisher, service_schema, service_subscriber, streaming
from emulator.pubsub.ack_refusal import AckRefusal
from emulator.pubsub.broker import Broker
from emulator.pubsub.protos import Proto
from emulator.refusals import Refusal
from emulator.usage.attribution import Attributed

_SERVICES: Final = (service_publisher, service_subscriber, service_schema, service_iam)

Context = grpc.aio.ServicerContext[bytes, bytes]
Unary = Callable[[bytes, Any], Awaitable[bytes]]


def handlers(broker: Broker) -> list[grpc.GenericRpcHandler]:
    """All services, for ``grpc.aio.Server.add_generic_rpc_handlers``."""
    found: list[grpc.GenericRpcHandler] = []
    for service in _SERVICES:
        methods: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(_unary(broker, name, kind, handler))
            for name, (kind, handler) in service.methods(broker).items()
        }
        if service is service_subscriber:
            methods["Pull"] = grpc.unary_unary_rpc_method_handler(_pull(broker))
            methods["StreamingPull"] = grpc.stream_stream_rpc_method_handler(_stream(broker))
        found.append(Attributed(grpc.method_handlers_generic_handler(service.SERVICE, methods)))
    return found


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
