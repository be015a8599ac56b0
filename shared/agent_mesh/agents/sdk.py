"""`Agent`: any Python function as a complete agent function of the mesh."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from agent_mesh.agents.admission import Price
from agent_mesh.agents.handlers import adapt
from agent_mesh.agents.routes import AgentFunction
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings

if TYPE_CHECKING:
    import flask

_Function = TypeVar("_Function", bound=Callable[..., Any])


class AgentDeclarationError(Exception):
    """An agent was declared in a way that cannot work; the text says how to mend it."""


class Agent:
    """An agent of the mesh.

    ```python
    agent = Agent("shout", price_cents=1)

    @agent.handler
    def shout(payload: dict) -> dict:
        return {"text": payload["text"].upper()}

    @functions_framework.http
    def main(request):
        return agent.serve(request)
    ```

    It answers `POST /run` and `POST /pubsub/push`, checks who calls, the deadline and the budget, runs each task once
    however often it is delivered, and sends the result where it belongs.
    """

    def __init__(
        self,
        name: str,
        *,
        price_cents: int | None = None,
        max_cost_cents: int | None = None,
        description: str = "",
        parts: FunctionParts | None = None,
    ) -> None:
        """Declare agent `name`.

        A run costs `price_cents` (default: AGENT_COST_PER_RUN_CENTS, else 0) unless the handler charges something else,
        which may be `max_cost_cents` at most; that maximum is what is checked and reserved before the run starts.
        `parts` replaces the edges to the outside world, for tests.
        """
        self.name = name
        self._price_cents = price_cents
        self._max_cost_cents = max_cost_cents
        self._description = description
        self._parts = parts
        self._function: Callable[..., Any] | None = None
        self._served: AgentFunction | None = None
        self._lock = threading.Lock()

    def handler(self, function: _Function) -> _Function:
        """Make `function(payload)` or `function(payload, run)` this agent's handler; it stays callable as it is.

        The payload is a dict, or the pydantic model that its annotation names. The result is anything that pydantic can
        turn into JSON. See `agent_mesh.RetryableError` and `TerminalError` for how it fails.
        """
        if self._function is not None:
            message = f"agent {self.name} has the handler {self._function.__name__} already; an agent has one"
            raise AgentDeclarationError(message)
        adapt(function)
        self._function = function
        return function

    def serve(self, request: flask.Request) -> flask.Response:
        """Answer one request; the body of the function that functions-framework calls."""
        return self.function().app.serve(request)

    def function(self) -> AgentFunction:
        """Return the agent's routes, wired at the first call."""
        if self._served is None:
            with self._lock:
                if self._served is None:
                    self._served = self._wire()
        return self._served

    def _wire(self) -> AgentFunction:
        if self._function is None:
            message = f"agent {self.name} has no handler: decorate a function with @agent.handler"
            raise AgentDeclarationError(message)
        parts = self._parts or FunctionParts.for_role(self.name, Settings.from_environment())
        return AgentFunction(self.name, self._description, self._price(parts.settings), adapt(self._function), parts)

    def _price(self, settings: Settings) -> Price:
        default = self._price_cents if self._price_cents is not None else settings.agent_price_cents or 0
        maximum = default if self._max_cost_cents is None else self._max_cost_cents
        if not 0 <= default <= maximum:
            message = f"agent {self.name}: a price of {default} cents does not fit a maximum of {maximum}"
            raise AgentDeclarationError(message)
        return Price(default, maximum)
