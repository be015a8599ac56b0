"""Logs: one JSON object a line, as Cloud Logging wants it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from agent_mesh.platform.logs import configure_logs, current_trace, log
from agent_mesh.platform.trace import Trace

Logged = Callable[[], list[dict[str, Any]]]


class _Listener(logging.Handler):
    def __init__(self, heard: list[logging.LogRecord]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record)


def test_an_event_is_one_line_with_its_fields(logged: Logged) -> None:
    configure_logs("p", "shout")
    log("two\nlines", letters=3, kind=ValueError)
    (line,) = logged()
    assert line == {
        "severity": "INFO",
        "message": "two\nlines",
        "role": "shout",
        "logger": "agent_mesh",
        "letters": 3,
        "kind": "<class 'ValueError'>",
    }


def test_an_event_stands_in_its_trace(logged: Logged) -> None:
    configure_logs("p", "shout")
    current_trace.set(Trace("a" * 32, "b" * 16))
    log("here")
    (line,) = logged()
    assert line["logging.googleapis.com/trace"] == f"projects/p/traces/{'a' * 32}"
    assert line["logging.googleapis.com/spanId"] == "b" * 16


def test_a_failure_brings_its_exception(logged: Logged) -> None:
    configure_logs("p", "shout")
    try:
        int("no")
    except ValueError:
        log("failed", level=logging.ERROR, failed=True)
    (line,) = logged()
    assert line["severity"] == "ERROR"
    assert line["exception"].endswith("int() with base 10: 'no'")


def test_configuring_twice_does_not_write_twice(logged: Logged) -> None:
    configure_logs("p", "first")
    configure_logs("p", "second")
    log("once")
    assert [line["role"] for line in logged()] == ["second"]


def test_whatever_a_module_of_the_package_logs_has_the_same_shape(logged: Logged) -> None:
    configure_logs("p", "shout")
    logging.getLogger("agent_mesh.oidc").info("refused", extra={"fields": {"reason": "late"}})
    logging.getLogger("agent_mesh.oidc").debug("not of interest")
    assert [(line["logger"], line["reason"]) for line in logged()] == [("agent_mesh.oidc", "late")]


def test_nothing_goes_to_the_root_logger_as_well(logged: Logged) -> None:
    configure_logs("p", "shout")
    heard: list[logging.LogRecord] = []
    root = logging.getLogger()
    listener = _Listener(heard)
    root.addHandler(listener)
    log("once")
    root.removeHandler(listener)
    assert heard == []
