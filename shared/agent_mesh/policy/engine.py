"""One compiled bundle that answers questions, or refuses to: there is no third way out.

Nothing of regopy is imported before an engine is made.
"""

from __future__ import annotations

import weakref
from types import TracebackType
from typing import Final, Self

from pydantic import JsonValue

from agent_mesh.contracts.values import canonical_json
from agent_mesh.policy._vetting import vet
from agent_mesh.policy._workers import Evaluation, Workers
from agent_mesh.policy.bundles import Bundle
from agent_mesh.policy.errors import BundleRefused, NoAnswer, Refusal
from agent_mesh.policy.inputs import InputLimits, InputText, input_text

DEFAULT_WORKERS: Final = 4
DEFAULT_TIMEOUT_S: Final = 1.0


class Engine:
    """Evaluates the entry points of one bundle, from any thread."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        with_tests: bool = False,
        workers: int = DEFAULT_WORKERS,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        limits: InputLimits | None = None,
    ) -> None:
        """Vet and compile; raise `BundleRefused` for what cannot be trusted to decide."""
        from agent_mesh.policy._rego import Compiled, Interpreter, is_builtin

        sources = {**bundle.modules, **(bundle.tests if with_tests else {})}
        vetted = vet(sources, is_builtin)
        self.tests: Final = vetted.tests
        self.entrypoints: Final = frozenset({*bundle.decisions.values(), *vetted.tests})
        if not self.entrypoints:
            raise BundleRefused(f"Bundle {bundle.name} has neither a decision nor a test.")
        self._refuses_escapes = vetted.looks_into_text
        self._limits = limits or InputLimits()
        compiled = Compiled(sources, canonical_json(bundle.base_document), sorted(self.entrypoints))

        def evaluation() -> Evaluation:
            interpreter = Interpreter()
            return lambda entrypoint, text: interpreter.evaluate(compiled, entrypoint, text)

        self._workers = Workers(workers, evaluation, timeout_s)
        self._stop = weakref.finalize(self, self._workers.stop)

    def evaluate(self, entrypoint: str, value: JsonValue) -> JsonValue:
        """Return what an entry point says of an input; raise `NoAnswer` in every other case."""
        return self.evaluate_text(entrypoint, self.read(value))

    def read(self, value: JsonValue) -> InputText:
        """Return an input in canonical form; raise `NoAnswer` if it is too much or no JSON."""
        return input_text(value, self._limits)

    def evaluate_text(self, entrypoint: str, text: InputText) -> JsonValue:
        """Evaluate an input that was read before."""
        if entrypoint not in self.entrypoints:
            raise NoAnswer(Refusal.UNDEFINED, f"The bundle has no entry point {entrypoint}.")
        if text.has_escapes and self._refuses_escapes:
            message = "This bundle looks into text, where the engine sees escapes: no quotes, backslashes or controls."
            raise NoAnswer(Refusal.INPUT_ESCAPED_TEXT, message)
        return self._workers.ask(entrypoint, text.canonical)

    def close(self) -> None:
        """Let the threads end; an engine that nobody refers to any more does so by itself."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
