"""Structured logs: one JSON object a line, as Cloud Logging reads them.

(https://cloud.google.com/logging/docs/structured-logging). Never a token, a payload, a prompt or a result.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar

from agent_mesh.platform.trace import Trace, incoming_trace

current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)
"""The trace that this request belongs to."""

_logger = logging.getLogger("agent_mesh")


def join_trace(look_up: Callable[[str, str], str]) -> None:
    """Go on in the trace that a message's attributes name (`look_up` is their `get`), if they name one."""
    current_trace.set(incoming_trace(look_up) or current_trace.get())


class _JsonLines(logging.Formatter):
    def __init__(self, project: str, role: str) -> None:
        super().__init__()
        self._project = project
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "role": self._role,
            "logger": record.name,
            **getattr(record, "fields", {}),
        }
        trace = current_trace.get()
        if trace is not None:
            line["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{trace.trace_id}"
            line["logging.googleapis.com/spanId"] = trace.span_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logs(project: str, role: str) -> None:
    """Send this package's log to standard error as JSON lines. A second call replaces the first."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(project, role))
    _logger.handlers = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False


def log(message: str, *, level: int = logging.INFO, failed: bool = False, **fields: object) -> None:
    """Write one event with its fields; `failed` adds the exception that is being handled."""
    _logger.log(level, message, extra={"fields": fields}, exc_info=failed)
