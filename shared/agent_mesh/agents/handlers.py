"""Turns a user's function into a handler: its annotations say how it wants its payload and whether it wants the run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, JsonValue, ValidationError

from agent_mesh.agents.errors import TerminalError
from agent_mesh.agents.execution import Handler
from agent_mesh.agents.held_run import Run
from agent_mesh.contracts.values import to_json


class HandlerSignatureError(TypeError):
    """A function cannot be a handler; the text says what its parameters must be."""


@dataclass(frozen=True)
class Priced:
    """A handler's result together with what the run cost, in cents; the same as calling `run.charge`."""

    result: object
    cost_cents: int


def payload_model(function: Callable[..., Any]) -> type[BaseModel] | None:
    """Return the pydantic model that a handler declares for its payload, None if it takes the plain object."""
    parameters = _parameters(function)
    kind = get_type_hints(function).get(parameters[0].name)
    return kind if inspect.isclass(kind) and issubclass(kind, BaseModel) else None


def adapt(function: Callable[..., Any]) -> Handler:
    """Return `function(payload)` or `function(payload, run)` as a handler.

    A payload that does not fit the declared model is a terminal error: it would not fit the next time either.
    """
    model = payload_model(function)
    takes_run = len(_parameters(function)) > 1

    def handle(payload: dict[str, JsonValue], run: Run) -> object:
        argument = payload if model is None else _validated(model, payload)
        result = function(argument, run) if takes_run else function(argument)
        if isinstance(result, Priced):
            run.charge(result.cost_cents)
            result = result.result
        return result

    return handle


def _validated(model: type[BaseModel], payload: dict[str, JsonValue]) -> BaseModel:
    try:
        return model.model_validate_json(to_json(payload))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        detail = "; ".join(f"payload.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:5])
        raise TerminalError(detail, code="payload_invalid") from error


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if not 1 <= len(parameters) <= 2 or any(each.kind not in positional for each in parameters):  # noqa: PLR2004
        message = f"{function.__name__} must take (payload) or (payload, run), not {inspect.signature(function)}"
        raise HandlerSignatureError(message)
    if inspect.iscoroutinefunction(function):
        message = f"{function.__name__} is async; a function's requests are served by threads: use a plain def"
        raise HandlerSignatureError(message)
    return parameters
