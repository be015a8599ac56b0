"""regopy with types, and without what of it misleads. Importing this module loads the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import regopy  # type: ignore[import-untyped]  # it ships no types
from pydantic import JsonValue

from agent_mesh.policy.errors import BundleRefused, NoAnswer, Refusal

ENGINE: Final = f"rego-cpp {regopy.__version__}"

_CODES: Final = {
    "Function not found": Refusal.UNKNOWN_FUNCTION,
    "Recursion detected": Refusal.RECURSION,
    "maximum function call depth": Refusal.RECURSION,
}


class Compiled:
    """A compiled bundle. Threads may share it; each needs an `Interpreter` of its own."""

    def __init__(self, handle: Any) -> None:  # noqa: ANN401 - regopy.Bundle, untyped
        """Take a bundle that the engine built or loaded; raise `BundleRefused` if that went wrong."""
        if not handle.ok():
            raise BundleRefused("The bundle does not compile.")
        self.handle = handle

    @classmethod
    def of(cls, sources: Mapping[str, str], data_text: str, entrypoints: Sequence[str]) -> Self:
        """Compile; raise `BundleRefused` with the engine's words."""
        interpreter = _quiet()
        try:
            for file, source in sorted(sources.items()):
                interpreter.add_module(file, source)
            interpreter.add_data_json(data_text)
            return cls(interpreter.build(None, list(entrypoints)))
        except regopy.RegoError as error:
            raise BundleRefused(f"The bundle does not compile: {error}") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load what `save` wrote; raise `BundleRefused` if the engine cannot read it.

        The engine believes what it reads: only bytes whose hash is known may be given to it.
        """
        try:
            return cls(_quiet().load_bundle(str(path), regopy.BundleFormat.Binary))
        except regopy.RegoError as error:
            raise BundleRefused(f"The saved bundle cannot be loaded: {error}") from error

    def save(self, path: Path) -> None:
        """Write the compiled form to a file."""
        _quiet().save_bundle(str(path), self.handle, regopy.BundleFormat.Binary)


class Interpreter:
    """For one thread: what evaluates compiled bundles."""

    def __init__(self, *, strict: bool = True) -> None:
        """Be strict: an error in a function is an error. Were it undefined, as in OPA, `not` would make it true."""
        self._interpreter = _quiet()
        self._interpreter.strict_built_in_errors = strict

    def evaluate(self, compiled: Compiled, entrypoint: str, input_text: str) -> JsonValue:
        """Return what the entry point says of an input in JSON; raise `NoAnswer` if it says nothing.

        An input that cannot be read leaves the one before in place: it is never asked about.
        """
        try:
            self._interpreter.set_input_term(input_text)
            output = self._interpreter.query_bundle_entrypoint(compiled.handle, entrypoint)
        except json.JSONDecodeError as error:  # the engine's complaint, where an answer was expected
            code = next((code for words, code in _CODES.items() if words in error.doc), Refusal.FAILED)
            raise NoAnswer(code, f"Evaluating {entrypoint} failed.") from None  # error.doc quotes the input
        except regopy.RegoError:
            raise NoAnswer(Refusal.FAILED, f"Evaluating {entrypoint} failed.") from None  # it quotes the input
        if not output.ok():
            raise NoAnswer(Refusal.FAILED, f"Evaluating {entrypoint} ended in an error.")
        return _only_expression(output, entrypoint)


def is_builtin(name: str) -> bool:
    """Tell whether the engine has a function of that name."""
    return bool(_quiet().is_builtin(name))


def _only_expression(output: Any, entrypoint: str) -> JsonValue:  # noqa: ANN401 - regopy.Output, untyped
    expressions = [expression for result in output.results for expression in result.expressions]
    if len(expressions) != 1:
        raise NoAnswer(Refusal.UNDEFINED, f"{entrypoint} is undefined for this input.")
    value: JsonValue = expressions[0]
    return value


def _quiet() -> Any:  # noqa: ANN401 - regopy.Interpreter, untyped
    """Return an interpreter that prints nothing; the level of the whole process can be set only once."""
    interpreter = regopy.Interpreter()
    interpreter.log_level = regopy.LogLevel.NONE
    return interpreter
