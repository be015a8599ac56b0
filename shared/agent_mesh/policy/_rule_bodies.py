"""Rego source cut into what can hold or fail by itself: rules, their branches, and the expressions of each body.

It knows the grammar as `opa fmt` writes it. What it cannot cut it leaves whole: an expression too many in one piece
explains less, and nothing wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_mesh.policy._scanner import Kind, Reference, Token, closing_of, references, statements, tokens

Path = tuple[str, ...]

_INFIX: Final = frozenset({
    ":=", "=", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "&", "|", ".", ",", ":", "in", "as",
})  # fmt: skip
_UNFINISHED: Final = _INFIX | {"some", "every", "not", "with", "if", "contains"}


@dataclass(frozen=True)
class Branch:
    """One body and the value that it gives. `value` is the source behind the rule's name, such as `:= 1`."""

    line: int
    value: str
    body: str = ""
    expressions: tuple[str, ...] = ()
    looks_at: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One rule of a module: its branches, of which each but the first stands behind an `else`."""

    file: str
    package: Path
    name: str
    is_default: bool
    is_function: bool
    branches: tuple[Branch, ...]

    @property
    def path(self) -> Path:
        return (*self.package, self.name)

    @property
    def collects(self) -> bool:
        """True for a set or an object that several bodies add to: it holds when it has something in it."""
        return self.branches[0].value.startswith(("contains", "[", "."))


@dataclass
class Module:
    """One file."""

    file: str
    source: str
    package: Path = ()
    imports: dict[str, Path] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)


def read_module(file: str, source: str) -> Module:
    """Return the rules of a file that was vetted before."""
    module = Module(file, source)
    for statement in statements(tokens(file, source)):
        path = tuple(part.text for part in statement[1:] if part.kind is Kind.NAME and part.text != "as")
        if statement[0].text == "package":
            module.package = path
        elif statement[0].text == "import":
            renamed = any(part.text == "as" for part in statement)
            module.imports[path[-1]] = path[:-1] if renamed else path
        else:
            module.rules.append(_rule(module, statement))
    return module


def reached_from(entry: Path, modules: Sequence[Module]) -> list[Rule]:
    """Return the rules on which the value of `entry` may depend, in the order of files and lines."""
    by_path: dict[Path, list[tuple[Module, Rule]]] = {}
    for module in modules:
        for rule in module.rules:
            by_path.setdefault(rule.path, []).append((module, rule))
    seen: set[Path] = set()
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module, rule in by_path.get(path, []):
            for branch in rule.branches:
                for reference in branch.looks_at:
                    waiting += rules_meant(reference, module, by_path)
    return [rule for module in modules for rule in module.rules if rule.path in seen]


def rules_meant(reference: Reference, module: Module, known: dict[Path, list[tuple[Module, Rule]]]) -> list[Path]:
    """Return the rules that a reference names, all below it where it names a package."""
    own = (*module.package, reference.path[0])
    if own in known:
        return [own]
    path = (*module.imports.get(reference.path[0], (reference.path[0],)), *reference.path[1:])
    if path[0] != "data":
        return []
    return [rule for rule in known if all(one == other for one, other in zip(rule, path[1:], strict=False))]


def _rule(module: Module, statement: Sequence[Token]) -> Rule:
    is_default = statement[0].text == "default" and len(statement) > 1
    head = statement[1:] if is_default else statement
    is_function = len(head) > 1 and head[1].text == "(" and head[1].start == head[0].end
    branches = tuple(_branch(module.source, part) for part in _at_else(head))
    return Rule(module.file, module.package, head[0].text, is_default, is_function, branches)


def _at_else(statement: Sequence[Token]) -> Iterator[Sequence[Token]]:
    start = 0
    for position, token in enumerate(statement):
        if token.text == "else" and token.kind is Kind.NAME and token.depth == 0:
            yield statement[start:position]
            start = position
    yield statement[start:]


def _branch(source: str, part: Sequence[Token]) -> Branch:
    """Cut `name VALUE if BODY` or `else VALUE if BODY`."""
    split = next(
        (at for at, token in enumerate(part) if token.text == "if" and token.kind is Kind.NAME and token.depth == 0),
        len(part),
    )
    value = source[part[0].end : part[split - 1].end].strip() if split > 1 else ""
    looks_at = tuple(references(part[1:]))
    body = part[split + 1 :]
    if not body:
        return Branch(part[0].line, value, looks_at=looks_at)
    if body[0].text == "{" and closing_of(body, 0) == len(body) - 1:
        body = body[1:-1]
    pieces = tuple(source[piece[0].start : piece[-1].end] for piece in _expressions(body))
    return Branch(part[0].line, value, source[body[0].start : body[-1].end] if body else "", pieces, looks_at)


def _expressions(body: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield the expressions of a body: they end with a line that is complete, or with a semicolon."""
    piece: list[Token] = []
    for token in body:
        outside = token.depth == body[0].depth
        if outside and piece and (token.text == ";" or _begins(token, piece[-1])):
            yield piece
            piece = []
        if not (outside and token.text == ";"):
            piece.append(token)
    if piece:
        yield piece


def _begins(token: Token, before: Token) -> bool:
    on_next_line = token.line != _last_line(before)
    return on_next_line and before.text not in _UNFINISHED and token.text not in _INFIX and token.text not in "])}"


def _last_line(token: Token) -> int:
    return token.line + token.text.count("\n")
