"""One compiled bundle that answers questions, or refuses to: there is no third way out.

Nothing of regopy is imported before an engine is made.
"""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from pydantic import JsonValue

from agent_mesh.policy._vetting import vet
from agent_mesh.policy._workers import Evaluation, Workers
from agent_mesh.policy.bundles import Bundle
from agent_mesh.policy.errors import BundleRefused, NoAnswer, Refusal
from agent_mesh.policy.inputs import InputLimits, InputText, input_text
from agent_mesh.policy.saved import Saved

if TYPE_CHECKING:  # it loads the engine
    from agent_mesh.policy._rego import Compiled

DEFAULT_WORKERS: Final = 4
DEFAULT_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True)
class _Ready:
    compiled: Compiled
    entrypoints: frozenset[str]
    tests: tuple[str, ...]
    looks_into_text: bool


def _compiled(bundle: Bundle, *, with_tests: bool) -> _Ready:
    from agent_mesh.policy._rego import Compiled, is_builtin

    sources = {**bundle.modules, **(bundle.tests if with_tests else {})}
    vetted = vet(sources, is_builtin)
    entrypoints = frozenset({*bundle.decisions.values(), *vetted.tests})
    if not entrypoints:
        raise BundleRefused(f"Bundle {bundle.name} has neither a decision nor a test.")
    compiled = Compiled.of(sources, bundle.base_document_text, sorted(entrypoints))
    return _Ready(compiled, entrypoints, vetted.tests, vetted.looks_into_text)


def _loaded(bundle: Bundle, saved: Saved) -> _Ready:
    from agent_mesh.policy._rego import Compiled

    with tempfile.NamedTemporaryFile() as file:  # the engine reads files only
        file.write(saved.binary)
        file.flush()
        compiled = Compiled.load(Path(file.name))
    return _Ready(compiled, frozenset(bundle.decisions.values()), (), saved.looks_into_text)


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
        saved: Saved | None = None,
    ) -> None:
        """Vet and compile, or load what was `saved` of this bundle.

        Raises `BundleRefused` for what cannot be trusted to decide.
        """
        from agent_mesh.policy._rego import Interpreter

        ready = _loaded(bundle, saved) if saved else _compiled(bundle, with_tests=with_tests)
        compiled = ready.compiled
        self.tests: Final = ready.tests
        self.entrypoints: Final = ready.entrypoints
        self._refuses_escapes = ready.looks_into_text
        self._limits = limits or InputLimits()

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
