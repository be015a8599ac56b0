"""Rego source as tokens, cut into rules: as much of the grammar as vetting needs.

https://www.openpolicyagent.org/docs/policy-language
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent_mesh.policy.errors import BundleRefused

KEYWORDS: Final = frozenset({
    "as", "contains", "default", "else", "every", "false", "if", "import", "in", "not", "null", "package", "some",
    "true", "with",
})  # fmt: skip
_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<text>"(?:\\.|[^"\\\n])*"|`[^`]*`)
      | (?P<number>[0-9][0-9A-Za-z_.]*)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>:=|==|!=|<=|>=|[-+*/%&|=<>.,:;()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)


class Kind(StrEnum):
    """What a token is; the names of the pattern's groups."""

    TEXT = "text"
    NUMBER = "number"
    NAME = "name"
    MARK = "mark"


@dataclass(frozen=True)
class Token:
    """One token, where it begins, and how many brackets are open before it. `start` counts characters of the source."""

    kind: Kind
    text: str
    line: int
    column: int
    depth: int
    start: int

    @property
    def end(self) -> int:
        """Where the next one may begin."""
        return self.start + len(self.text)

    @property
    def is_name(self) -> bool:
        """True for an identifier that is no keyword."""
        return self.kind is Kind.NAME and self.text not in KEYWORDS

    @property
    def starts_statement(self) -> bool:
        """True for the first token of a rule, import or package: at the margin, outside all brackets."""
        return self.kind is Kind.NAME and self.column == 0 and self.depth == 0 and self.text != "else"


@dataclass(frozen=True)
class Reference:
    """A dotted path such as `input.subject` or `time.now_ns`."""

    path: tuple[str, ...]
    line: int
    next_mark: str

    @property
    def dotted(self) -> str:
        return ".".join(self.path)


def tokens(file: str, source: str) -> list[Token]:
    """Return the tokens of a module; refuse what is outside the grammar, template strings among it."""
    found: list[Token] = []
    place, line, line_start, depth = 0, 1, 0, 0
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None or match.lastgroup is None:
            raise BundleRefused(f"{file}:{line}: {source[place]!r} may not stand outside a string in a policy.")
        text = match.group()
        if match.lastgroup != "space":
            depth -= text in _CLOSING
            found.append(Token(Kind(match.lastgroup), text, line, place - line_start, depth, place))
            depth += text in _OPENING
        if "\n" in text:
            line += text.count("\n")
            line_start = place + text.rindex("\n") + 1
        place = match.end()
    return found


def statements(module: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the package clause, the imports and the rules. A rule begins at the margin, as `opa fmt` writes it."""
    statement: list[Token] = []
    for token in module:
        if token.starts_statement and statement:
            yield statement
            statement = []
        statement.append(token)
    if statement:
        yield statement


def references(statement: Sequence[Token]) -> Iterator[Reference]:
    """Yield every path that begins with a name, in order."""
    position = 0
    while position < len(statement):
        token, after = statement[position], position + 1 + _fields_after(statement, position)
        if token.is_name or (token.text == "contains" and _text_at(statement, after) == "("):  # the function
            path = tuple(part.text for part in statement[position:after] if part.kind is Kind.NAME)
            yield Reference(path, token.line, _text_at(statement, after))
        position = after


def _fields_after(statement: Sequence[Token], position: int) -> int:
    """Return how many tokens of `.field.field` follow."""
    after = position + 1
    while _text_at(statement, after) == "." and statement[after + 1 : after + 2]:
        if statement[after + 1].kind is not Kind.NAME:
            break
        after += 2
    return after - position - 1


def _text_at(statement: Sequence[Token], position: int) -> str:
    return statement[position].text if 0 <= position < len(statement) else ""


def matching(statement: Sequence[Token], closing: int) -> int:
    """Return where the bracket opens that closes at `closing`."""
    depth = statement[closing].depth
    position = closing - 1
    while position > 0 and not (statement[position].depth == depth and statement[position].text in _OPENING):
        position -= 1
    return position


def closing_of(statement: Sequence[Token], opening: int) -> int:
    """Return where the bracket closes that opens at `opening`."""
    depth = statement[opening].depth
    position = opening + 1
    while position < len(statement) and not (
        statement[position].depth == depth and statement[position].text in _CLOSING
    ):
        position += 1
    return position
