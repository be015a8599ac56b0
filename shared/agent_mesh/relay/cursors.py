"""How far a stream has come: what its `id:` lines say and `Last-Event-ID` brings back.

Of a stream over one topic the cursor is the id of the last message. Of a stream over several it names each topic that
had a message, with the number of the last one, behind the moment at which the connection began:
`1800000000000000~tasks.a=1800000000000007~tasks.b=1800000000000012`. Topics that it does not name had no message
then. It has a bounded size: the topics that were silent longest are left out first, and a `+` at the end says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent_mesh.contracts.problems import FieldFault, InvalidRequest
from agent_mesh.relay.messages import id_of
from agent_mesh.relay.topics import TopicPattern, any_matches, checked_topic

CURSOR_LIMIT_BYTES: Final = 4096
"""Longest cursor: servers take header lines of 8 KiB."""

_FULL: Final = "+"
_SEPARATOR: Final = "~"
_NUMBER: Final = re.compile(r"\d{1,17}", flags=re.ASCII)


@dataclass(frozen=True)
class Cursor:
    """A position in each topic of a stream.

    `began` is the moment of the connection as a number, `partial` tells that topics were left out.
    """

    began: int
    positions: Mapping[str, int] = field(default_factory=dict)
    partial: bool = False


def parse_cursor(text: str, patterns: tuple[TopicPattern, ...]) -> Cursor:
    """Return the cursor that a stream over `patterns` gave out; raise `InvalidRequest` for a made-up one."""
    try:
        return _parsed(text, patterns)
    except (ValueError, InvalidRequest) as error:
        fault = FieldFault(field="Last-Event-ID", message="is not an id that a stream over these topics gave")
        detail = "Last-Event-ID: give the last `id:` of a stream over the same topics, unchanged, or none."
        raise InvalidRequest(detail, errors=[fault]) from error


def _parsed(text: str, patterns: tuple[TopicPattern, ...]) -> Cursor:
    if len(text) > CURSOR_LIMIT_BYTES:
        raise ValueError("too long")
    if single_topic(patterns):
        position = _number(text)
        return Cursor(position, {patterns[0].text: position})
    partial = text.endswith(_FULL)
    began, *parts = text.removesuffix(_FULL).split(_SEPARATOR)
    positions = {}
    for part in parts:
        topic, _, number = part.partition("=")
        if not any_matches(patterns, checked_topic(topic)):
            raise ValueError("another stream's topic")
        positions[topic] = _number(number)
    return Cursor(_number(began), positions, partial)


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return int(text)


def single_topic(patterns: tuple[TopicPattern, ...]) -> bool:
    """Tell whether a stream's cursor is a message's id."""
    return len(patterns) == 1 and patterns[0].literal


class Progress:
    """The cursor of a stream that goes on. Used by the one thread that reads the stream."""

    def __init__(self, start: Cursor, *, single: bool) -> None:
        """Go on from `start`; `single` as in `single_topic`."""
        self.began = start.began
        self.partial = start.partial
        self._positions = dict(start.positions)
        self._single = single

    def position(self, topic: str) -> int | None:
        """Return up to where a topic was read, None if it had no message yet."""
        return self._positions.get(topic)

    @property
    def topics(self) -> frozenset[str]:
        """The topics that have a position."""
        return frozenset(self._positions)

    def reached(self, topic: str, number: int) -> None:
        """Note up to where a topic was read."""
        self._positions.pop(topic, None)
        self._positions[topic] = number

    def restore(self, topic: str, number: int | None) -> None:
        """Take back what was noted of a topic, for it was not read after all."""
        if number is None:
            self._positions.pop(topic, None)
        else:
            self._positions[topic] = number

    @property
    def text(self) -> str | None:
        """The cursor as text; None while there is no position."""
        if self._single:
            return next((id_of(number) for number in self._positions.values()), None)
        kept = list(self._newest_that_fit())
        left_out = len(kept) < len(self._positions)
        parts = [id_of(self.began), *(f"{topic}={id_of(number)}" for topic, number in reversed(kept))]
        return _SEPARATOR.join(parts) + (_FULL if left_out or self.partial else "")

    def _newest_that_fit(self) -> Iterator[tuple[str, int]]:
        left = CURSOR_LIMIT_BYTES - len(id_of(self.began)) - len(_FULL)
        for topic, number in reversed(self._positions.items()):
            left -= len(topic) + len(id_of(number)) + len(_SEPARATOR) + len("=")
            if left < 0:
                return
            yield topic, number
