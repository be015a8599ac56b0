"""Whom a call or a message is attributed to: the id of its trace, or else of its request.

https://www.w3.org/TR/trace-context/#traceparent-header, https://cloud.google.com/trace/docs/trace-context, and the
attribute of Google's client libraries, https://cloud.google.com/pubsub/docs/open-telemetry-tracing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final

import grpc

UNTRACED: Final = ""
current_trace: ContextVar[str] = ContextVar("current_trace", default=UNTRACED)
"""Whom the call that is being served is attributed to; each call runs in a context of its own."""

_ATTRIBUTES: Final = ("traceparent", "googclient_traceparent")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_CLOUD_TRACE: Final = re.compile(r"([0-9a-fA-F]{32})(?:/.*)?")
_NO_TRACE: Final = "0" * 32
_LONGEST: Final = 128
"""Of a request id; what follows is cut off."""


class Attributed(grpc.GenericRpcHandler):
    """Handlers that are told in ``current_trace`` whom each call is attributed to.

    gRPC looks a call's handler up in the task that then runs it, and has read the metadata by then: to ask the call's
    context for it in the handler would read it twice.
    """

    def __init__(self, handlers: grpc.GenericRpcHandler) -> None:
        """Serve what these serve."""
        self._handlers = handlers

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401  # grpc.aio gives no type
        """Look the handler of a call up."""
        current_trace.set(trace_of_call(handler_call_details.invocation_metadata))
        return self._handlers.service(handler_call_details)


def trace_of_call(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """The id in a call's gRPC metadata. A value that is none is passed over."""
    found: dict[str, str] = {}
    for key, value in metadata or ():
        if key in _READERS:
            found[key] = str(value)
    if found:
        for key, read in _READERS.items():
            if key in found and (trace := read(found[key])):
                return trace
    return UNTRACED


def trace_of_message(attributes: Mapping[str, str]) -> str:
    """The id in a message's attributes."""
    for name in _ATTRIBUTES:
        if name in attributes and (trace := _of_traceparent(attributes[name])):
            return trace
    return UNTRACED


def _of_traceparent(value: str) -> str:
    return _known(_TRACEPARENT.fullmatch(value))


def _of_cloud_trace(value: str) -> str:
    return _known(_CLOUD_TRACE.fullmatch(value))


def _of_request(value: str) -> str:
    return value.strip()[:_LONGEST]


def _known(match: re.Match[str] | None) -> str:
    """A trace id; all zeros is none, by the specification."""
    found = match[1].lower() if match else UNTRACED
    return UNTRACED if found == _NO_TRACE else found


_READERS: Final = {
    "traceparent": _of_traceparent,
    "x-cloud-trace-context": _of_cloud_trace,
    "x-request-id": _of_request,
    "x-goog-request-id": _of_request,
}
"""How each key is read; the first that holds an id decides."""
