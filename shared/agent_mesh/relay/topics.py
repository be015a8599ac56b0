"""Names of topics, and patterns that stand for several of them.

A topic is words joined by dots: `access.intent`. In a pattern, `*` stands for exactly one word and a `**` at the end
for one word or more: `tasks.*` is `tasks.a` and not `tasks.a.b`, `tasks.**` is both, `**` is every topic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator

from agent_mesh.contracts.problems import FieldFault, InvalidRequest

TOPIC_LIMIT_CHARACTERS: Final = 128
TOPIC_LIMIT_WORDS: Final = 8
PATTERN_LIMIT: Final = 16
"""Most patterns that one stream may name."""

ONE: Final = "*"
REST: Final = "**"

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SHAPE: Final = (
    f"1 to {TOPIC_LIMIT_WORDS} words of letters, digits, `_` and `-`, each beginning with a letter or digit, "
    f"joined by dots, at most {TOPIC_LIMIT_CHARACTERS} characters"
)


def _fault_of(name: str, *, wildcards: bool) -> str | None:
    """Return what is wrong with a topic, or with a pattern; None if nothing is."""
    words = name.split(".")
    if len(name) > TOPIC_LIMIT_CHARACTERS or len(words) > TOPIC_LIMIT_WORDS:
        return f"must be {_SHAPE}"
    if wildcards:
        words = [word for word in words[:-1] if word != ONE] + [word for word in words[-1:] if word not in {ONE, REST}]
    if all(_WORD.fullmatch(word) for word in words):
        return None
    return f"must be {_SHAPE}" + ("; `*` for one word, `**` only as the last" if wildcards else "")


def _valid_topic(name: str) -> str:
    fault = _fault_of(name, wildcards=False)
    if fault:
        raise ValueError(fault)
    return name


Topic: TypeAlias = Annotated[str, AfterValidator(_valid_topic)]
"""A topic's name as a field of a request; pydantic refuses what is none."""


def checked_topic(name: str) -> str:
    """Return the name of a topic; raise `InvalidRequest` if it cannot be one."""
    fault = _fault_of(name, wildcards=False)
    if fault:
        raise InvalidRequest(f"topic: {name[:TOPIC_LIMIT_CHARACTERS]!r} {fault}.", errors=[_named(fault)])
    return name


@dataclass(frozen=True)
class TopicPattern:
    """One topic, or all that fit its wildcards."""

    text: str

    @property
    def literal(self) -> bool:
        """True if it stands for one topic."""
        return ONE not in self.text

    @property
    def prefix(self) -> str:
        """What every topic that matches begins with."""
        return self.text.partition(ONE)[0]

    def matches(self, topic: str) -> bool:
        """Tell whether a topic is meant."""
        return self._expression.fullmatch(topic) is not None

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        words = {ONE: r"[^.]+", REST: r".+"}
        return re.compile(r"\.".join(words.get(word, re.escape(word)) for word in self.text.split(".")))


def parse_patterns(texts: Sequence[str]) -> tuple[TopicPattern, ...]:
    """Return the patterns of a stream, each once; raise `InvalidRequest` for none, too many or one that is none."""
    if not 1 <= len(texts) <= PATTERN_LIMIT:
        fault = f"must be 1 to {PATTERN_LIMIT} topics or patterns; there are {len(texts)}"
        raise InvalidRequest(f"topic: {fault}.", errors=[_named(fault)])
    for text in texts:
        wrong = _fault_of(text, wildcards=True)
        if wrong:
            raise InvalidRequest(f"topic: {text[:TOPIC_LIMIT_CHARACTERS]!r} {wrong}.", errors=[_named(wrong)])
    return tuple(TopicPattern(text) for text in dict.fromkeys(texts))


def any_matches(patterns: Iterable[TopicPattern], topic: str) -> bool:
    """Tell whether one of the patterns means a topic."""
    return any(pattern.matches(topic) for pattern in patterns)


def _named(message: str) -> FieldFault:
    return FieldFault(field="topic", message=message)
