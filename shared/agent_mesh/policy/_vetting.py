"""What a bundle may not contain. The engine would load it all, and be wrong, unrepeatable or indiscreet later.

- The engine's `time`: it ends the process where grpc is loaded too, and `parse_rfc3339_ns` does not take the zone Z.
- Functions whose answer is not a function of the input: the same input must give the same decision again.
- What regopy 1.5.2 computes wrongly: remainders (`30 % 3` is 1) and the order of numbers (`max([89, 256])` is 89).
- `opa.runtime`, which answers with the process's environment.
- Functions that do not exist: the engine finds out only when it meets one.
- Variables that are nowhere declared: to the engine they are undefined, and `not` makes that true.
- Template strings, which would hide calls from this check.
- Tests in a package of rules, which they would change while they are run, and not afterwards.
- `with`, over which the compiler ends the whole process as soon as a rule below it needs another (regopy 1.5.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_mesh.policy._scanner import (
    Kind,
    Reference,
    Token,
    closing_of,
    matching,
    references,
    statements,
    tokens,
)
from agent_mesh.policy.errors import BundleRefused

TEST_SUFFIX: Final = "_test.rego"

FORBIDDEN: Final[Mapping[str, str]] = {
    "http.send": "a decision may not wait for another server",
    "io.jwt.decode_verify": "it reads the clock; tokens are verified before policy is asked",
    "max": "the engine orders numbers as text: compare with <",
    "min": "the engine orders numbers as text: compare with <",
    "net.lookup_ip_addr": "a decision may not wait for another server",
    "opa.runtime": "it reveals the environment of the process",
    "rand.intn": "a decision must be repeatable",
    "sort": "the engine orders numbers as text",
    "time": "its calendar ends the process where grpc is loaded: pass Unix seconds in the input",
    "uuid.rfc4122": "a decision must be repeatable",
}
_GUARDED_ROOTS: Final = frozenset(name.partition(".")[0] for name in FORBIDDEN)
_FORBIDDEN_TOKENS: Final[Mapping[str, str]] = {
    "with": "it may end the process: a test gives its input",
    "%": "the engine's remainders are wrong",
}

BLIND_TO_TEXT: Final = frozenset({
    "abs", "ceil", "floor", "numbers.range", "product", "round", "sum",
    "is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string",
    "array.concat", "array.reverse", "array.slice", "object.get", "object.keys", "object.remove", "object.union",
})  # fmt: skip
"""Functions that give the same for a character however it is written; of the others, most see its JSON escape."""


@dataclass(frozen=True)
class Vetted:
    """What vetting learned: the tests by entry point, and whether any rule looks into text."""

    tests: tuple[str, ...]
    looks_into_text: bool


@dataclass
class _Module:
    """One file: its package, what its imports are called, and its rules with their names."""

    file: str
    package: tuple[str, ...] = ()
    imports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rules: list[list[Token]] = field(default_factory=list)

    @property
    def heads(self) -> set[str]:
        return {name for rule in self.rules if (name := _head(rule))}


def vet(sources: Mapping[str, str], is_builtin: Callable[[str], bool]) -> Vetted:
    """Refuse what may not be in a bundle; return what there is to know about the rest."""
    modules = [_parsed(file, source) for file, source in sorted(sources.items())]
    heads: dict[tuple[str, ...], set[str]] = {}
    for module in modules:
        heads.setdefault(module.package, set()).update(module.heads)
    _refuse_tests_that_add_to_rules(modules)
    called: set[str] = set()
    for module in modules:
        for rule in module.rules:
            called |= _Rule(module, rule, heads, is_builtin).vetted()
    tests = sorted(
        {"/".join((*module.package, name)) for module in modules for name in module.heads if name.startswith("test_")}
    )
    return Vetted(tuple(tests), looks_into_text=not called <= BLIND_TO_TEXT)


def _refuse_tests_that_add_to_rules(modules: Sequence[_Module]) -> None:
    """A rule that a test added to a package would decide in the rehearsal, and be missing in production."""
    packages = [module.package for module in modules if not module.file.endswith(TEST_SUFFIX)]
    for module in modules:
        if module.file.endswith(TEST_SUFFIX):
            for package in packages:
                shorter = min(len(package), len(module.package))
                if package[:shorter] == module.package[:shorter]:
                    message = "a test has a package of its own, neither in nor around that of rules"
                    raise BundleRefused(f"{module.file}: {'.'.join(module.package)}: {message}.")


def _parsed(file: str, source: str) -> _Module:
    module = _Module(file)
    for statement in statements(tokens(file, source)):
        first = statement[0].text
        path = tuple(part.text for part in statement[1:] if part.kind is Kind.NAME and part.text != "as")
        if first == "package":
            module.package = path
        elif first == "import":
            renamed = len(statement) > 2 and statement[-2].text == "as"  # noqa: PLR2004 - import PATH as NAME
            module.imports[path[-1]] = path[:-1] if renamed else path
        else:
            module.rules.append(statement)
    if not module.package:
        raise BundleRefused(f"{file}: a policy begins with its package.")
    return module


def _head(rule: Sequence[Token]) -> str:
    named = rule[1] if rule[0].text == "default" and len(rule) > 1 else rule[0]
    return named.text if named.is_name else ""


@dataclass
class _Rule:
    module: _Module
    statement: list[Token]
    heads: Mapping[tuple[str, ...], set[str]]
    is_builtin: Callable[[str], bool]

    def vetted(self) -> set[str]:
        """Return the functions of the engine that this rule calls; raise if it may not stand in a bundle."""
        for token in self.statement:
            if token.text in _FORBIDDEN_TOKENS:
                raise BundleRefused(f"{self.module.file}:{token.line}: {token.text}: {_FORBIDDEN_TOKENS[token.text]}.")
        known = self.heads[self.module.package] | set(self.module.imports) | _declared(self.statement)
        known |= {"_", "input", "data"}
        called: set[str] = set()
        for reference in references(self.statement):
            self._refuse_forbidden(reference)
            if self._is_own(reference):
                continue
            if self.is_builtin(reference.dotted):
                called.add(reference.dotted)
            elif reference.next_mark == "(":
                raise self._refused(reference, "no such function: neither the engine nor this bundle has it")
            elif reference.path[0] not in known:
                raise self._refused(reference, "nothing declares this variable: use :=, some, every or a parameter")
        return called

    def _refuse_forbidden(self, reference: Reference) -> None:
        for name, reason in FORBIDDEN.items():
            if reference.dotted == name or reference.dotted.startswith(f"{name}."):
                raise self._refused(reference, reason)
        if reference.dotted in _GUARDED_ROOTS and reference.next_mark == "[":
            raise self._refused(reference, "functions are called by their dotted name")

    def _is_own(self, reference: Reference) -> bool:
        """True for a rule or function of the bundle, by whichever of its names."""
        root, rest = reference.path[0], reference.path[1:]
        if root in self.heads[self.module.package]:
            return True
        path = (*self.module.imports.get(root, (root,)), *rest)
        return path[0] == "data" and any(
            path[1 : 1 + len(package)] == package
            and bool(heads.intersection(path[1 + len(package) : 2 + len(package)]))
            for package, heads in self.heads.items()
        )

    def _refused(self, reference: Reference, why: str) -> BundleRefused:
        return BundleRefused(f"{self.module.file}:{reference.line}: {reference.dotted}: {why}.")


def _declared(rule: Sequence[Token]) -> set[str]:
    """Return the variables that a rule declares anywhere; a scope within the rule is not told from another."""
    declared = set(_parameters(rule))
    for position, token in enumerate(rule):
        if token.text == ":=":
            declared |= _assigned(rule, position - 1)
        elif token.kind is Kind.NAME and token.text in {"some", "every"}:
            declared |= set(_listed(rule, position))
    return declared


def _parameters(rule: Sequence[Token]) -> Iterator[str]:
    opening = 2 if rule[0].text == "default" else 1
    if len(rule) > opening and rule[opening].text == "(":
        end = closing_of(rule, opening)
        yield from (reference.path[0] for reference in references(rule[opening:end]))


def _assigned(rule: Sequence[Token], last: int) -> set[str]:
    """Return the names before `:=`: one, or those of a pattern such as `[a, b]`; an index declares nothing."""
    if rule[last].is_name:
        return {rule[last].text}
    if rule[last].text not in {"]", "}"}:
        return set()
    opening = matching(rule, last)
    before = rule[opening - 1]
    is_index = opening > 0 and (before.is_name or before.text in {"]", ")"})
    return set() if is_index else {reference.path[0] for reference in references(rule[opening:last])}


def _listed(rule: Sequence[Token], position: int) -> Iterator[str]:
    """Yield the names between `some` or `every` and `in`, or the end of that line."""
    line = rule[position].line
    for token in rule[position + 1 :]:
        if token.line != line or token.text in {"in", ";"}:
            return
        if token.is_name:
            yield token.text
