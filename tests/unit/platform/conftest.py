"""The log of the package as it was before each test, and what a test wrote into it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from agent_mesh.platform import logs
from agent_mesh.platform.logs import current_trace


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """`FunctionApp` sends the package's log elsewhere; the next test must not notice."""
    logger = logging.getLogger("agent_mesh")
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [], True
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture(autouse=True)
def _no_trace() -> Iterator[None]:
    token = current_trace.set(None)
    yield
    current_trace.reset(token)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What has been logged, as Cloud Logging reads it, by whoever was configured after this.

    Pytest itself replaces `sys.stderr` between fixture and test, so the module gets a stream of its own.
    """
    errors = io.StringIO()
    monkeypatch.setattr(logs, "sys", SimpleNamespace(stderr=errors))
    return lambda: [json.loads(line) for line in errors.getvalue().splitlines()]
