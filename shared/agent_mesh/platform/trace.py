"""W3C trace context (https://www.w3.org/TR/trace-context/): carried in HTTP headers and in message attributes."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")
_HEX_TRACE = re.compile(r"^[0-9a-f]{32}$")
_ATTRIBUTES = ("traceparent", "googclient_traceparent")


@dataclass(frozen=True)
class Trace:
    """Where we are in a trace: `trace_id` 32 hex digits, `span_id` 16."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @property
    def traceparent(self) -> str:
        """The header value that hands this span on as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def child(self) -> Trace:
        """Return a new span in the same trace."""
        return Trace(self.trace_id, secrets.token_hex(8), self.flags)


def new_trace() -> Trace:
    """Return the root of a new trace."""
    return Trace(secrets.token_hex(16), secrets.token_hex(8))


def trace_for(trace_id: str) -> Trace:
    """Return a span in the trace that a caller's own `traceId` names; an id of another form is hashed into one."""
    usable = _HEX_TRACE.match(trace_id) and trace_id.strip("0")
    hexadecimal = trace_id if usable else hashlib.sha256(trace_id.encode()).hexdigest()[:32]
    return Trace(hexadecimal, secrets.token_hex(8))


def incoming_trace(look_up: Callable[[str, str], str]) -> Trace | None:
    """Return a child of the span that headers or message attributes name (`look_up` is their `get`), or None."""
    for name in _ATTRIBUTES:
        match = _TRACEPARENT.match(look_up(name, ""))
        if match and match[1].strip("0") and match[2].strip("0"):
            return Trace(match[1], secrets.token_hex(8), match[3])
    return None
