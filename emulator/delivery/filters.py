"""The Pub/Sub filter grammar: parse once, then test attributes.

    expression = term, { "AND", term } | term, { "OR", term }
    term       = [ "NOT" | "-" ], ( "(", expression, ")" | comparison )
    comparison = "attributes", ":", key
               | "attributes", ".", key, ( "=" | "!=" ), string
               | "hasPrefix", "(", "attributes", ".", key, ",", string, ")"
    key        = identifier | string

Source: https://cloud.google.com/pubsub/docs/subscription-message-filter. ``!=`` is the negation
of ``=``, so that a message without the key matches it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from emulator.errors import FilterError

Matches = Callable[[Mapping[str, str]], bool]
"""Whether a message with these attributes is delivered."""

LONGEST_FILTER: Final = 256
_DEEPEST: Final = 64


def parse_filter(text: str) -> Matches:
    """Compile a filter; an empty one matches everything.

    Raises FilterError, which names the place and what was expected there.
    """
    size = len(text.encode())
    if size > LONGEST_FILTER:
        message = f"the filter has {size} bytes, at most {LONGEST_FILTER} are allowed"
        raise FilterError(message)
    if not text.strip():
        return lambda _attributes: True
    parser = _Parser(text)
    matches = parser.expression()
    parser.expect("end")
    return matches


class _Token(NamedTuple):
    kind: str
    value: str
    place: int


_TOKENS: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<word>[A-Za-z_][A-Za-z0-9_-]*)
    |(?P<mark>!=|[=:.,()-])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = re.compile(
    r"\\(?:u(?P<u4>[0-9a-fA-F]{4})|U(?P<u8>[0-9a-fA-F]{8})|x(?P<hex>[0-9a-fA-F]{2})"
    r"|(?P<octal>[0-3][0-7]{2})|(?P<plain>[abfnrtv\\\"'?`]))|(?P<bad>\\)",
)
_SURROGATES: Final = range(0xD800, 0xE000)
_PLAIN: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    place = 0
    while place < len(text):
        match = _TOKENS.match(text, place)
        if match is None:
            what = "an unfinished string" if text[place] == '"' else f"{text[place]!r}"
            message = f"at {place}: {what} is not part of the filter language"
            raise FilterError(message)
        kind, value = match.lastgroup or "", match.group()
        if kind == "string":
            found.append(_Token("string", _unescape(value[1:-1], place), place))
        elif kind != "space":
            found.append(_Token("word" if kind == "word" else value, value, place))
        place = match.end()
    return [*found, _Token("end", "the end", place)]


def _unescape(raw: str, place: int) -> str:
    def plain(match: re.Match[str]) -> str:
        digits = match["u4"] or match["u8"] or match["hex"]
        if digits or match["octal"]:
            code = int(digits, 16) if digits else int(match["octal"], 8)
            if code > sys.maxunicode or code in _SURROGATES:
                message = f"at {place}: {match.group()} is no Unicode character"
                raise FilterError(message)
            return chr(code)
        if match["bad"]:
            message = f"at {place}: unknown escape in the string"
            raise FilterError(message)
        return _PLAIN.get(match["plain"], match["plain"])

    return _ESCAPES.sub(plain, raw)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def expression(self) -> Matches:
        terms = [self._term()]
        joint = self._tokens[self._next]
        while self._word("AND") or self._word("OR"):
            operator = self._take()
            if operator.value != joint.value:
                message = f"at {operator.place}: put parentheses around AND or OR to mix them"
                raise FilterError(message)
            terms.append(self._term())
        if len(terms) == 1:
            return terms[0]
        join = all if joint.value == "AND" else any
        return lambda attributes: join(term(attributes) for term in terms)

    def expect(self, kind: str, value: str | None = None) -> _Token:
        token = self._take()
        if token.kind != kind or value not in {None, token.value}:
            wanted = {"end": "AND, OR or the end", "string": "a string in double quotes"}
            message = f"at {token.place}: expected {value or wanted.get(kind, kind)}, not {token.value!r}"
            raise FilterError(message)
        return token

    def _term(self) -> Matches:
        if self._word("NOT") or self._tokens[self._next].kind == "-":
            self._take()
            negated = self._plain_term()
            return lambda attributes: not negated(attributes)
        return self._plain_term()

    def _plain_term(self) -> Matches:
        if self._tokens[self._next].kind != "(":
            return self._comparison()
        opening = self._take()
        self._depth += 1
        if self._depth > _DEEPEST:
            message = f"at {opening.place}: more than {_DEEPEST} nested parentheses"
            raise FilterError(message)
        inner = self.expression()
        self.expect(")")
        self._depth -= 1
        return inner

    def _comparison(self) -> Matches:
        if self._word("hasPrefix"):
            return self._has_prefix()
        self.expect("word", "attributes")
        if self._tokens[self._next].kind == ":":
            self._take()
            key = self._key()
            return lambda attributes: key in attributes
        self.expect(".")
        key = self._key()
        operator = self._take()
        if operator.kind not in {"=", "!="}:
            message = f"at {operator.place}: expected = or !=, not {operator.value!r}"
            raise FilterError(message)
        value, equal = self.expect("string").value, operator.kind == "="
        return lambda attributes: (attributes.get(key) == value) is equal

    def _has_prefix(self) -> Matches:
        self._take()
        self.expect("(")
        self.expect("word", "attributes")
        self.expect(".")
        key = self._key()
        self.expect(",")
        prefix = self.expect("string").value
        self.expect(")")
        return lambda attributes: key in attributes and attributes[key].startswith(prefix)

    def _key(self) -> str:
        token = self._take()
        if token.kind not in {"word", "string"}:
            message = f"at {token.place}: expected an attribute key, not {token.value!r}"
            raise FilterError(message)
        return token.value

    def _word(self, value: str) -> bool:
        token = self._tokens[self._next]
        return token.kind == "word" and token.value == value

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token
