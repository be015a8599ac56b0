"""Ids of messages and cursors of streams."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.contracts.problems import InvalidRequest
from agent_mesh.relay import Message, parse_patterns
from agent_mesh.relay.cursors import CURSOR_LIMIT_BYTES, Cursor, Progress, parse_cursor
from agent_mesh.relay.messages import id_of, next_number, number_at

MANY = parse_patterns(["t.*"])
ONE = parse_patterns(["t.a"])
NOW = 1_800_000_000.0
NUMBERS = st.integers(0, 10**16 - 1)


@given(NUMBERS, NUMBERS)
def test_ids_sort_as_their_numbers(one: int, other: int) -> None:
    assert (id_of(one) < id_of(other)) == (one < other)


@given(NUMBERS, st.floats(0, 4e9))
def test_a_successor_is_later_than_its_predecessor_and_never_before_its_time(previous: int, at: float) -> None:
    number = next_number(previous, at)
    assert number > previous
    assert number >= number_at(at)


def test_a_message_on_the_wire_is_what_the_contract_says() -> None:
    message = Message("t.a", number_at(NOW + 0.25), 0, '{"ü":"1\\n2"}')
    wire = {"id": "1800000000250000", "ts": NOW + 0.25, "topic": "t.a", "payload": {"ü": "1\n2"}}
    assert json.loads(message.data) == wire
    assert message.size_bytes == len(message.data.encode())
    assert message.read_payload() == wire["payload"]


def test_the_cursor_of_a_stream_of_one_topic_is_the_message_id() -> None:
    assert Progress(Cursor(7), single=True).text is None
    progress = Progress(Cursor(7, {"t.a": 8}), single=True)
    progress.reached("t.a", 12)
    assert progress.text == id_of(12)
    assert parse_cursor(id_of(12), ONE) == Cursor(12, {"t.a": 12})


@given(st.dictionaries(st.sampled_from(["t.a", "t.b", "t.c-1_X"]), NUMBERS), NUMBERS, st.booleans())
def test_a_cursor_comes_back_as_it_was(positions: dict[str, int], began: int, partial: bool) -> None:
    cursor = Cursor(began, positions, partial)
    assert parse_cursor(Progress(cursor, single=False).text or "", MANY) == cursor


def test_a_cursor_has_a_bounded_size_and_says_when_topics_were_left_out() -> None:
    progress = Progress(Cursor(1), single=False)
    topics = [f"t.{number:03d}{'x' * 100}" for number in range(60)]
    for number, topic in enumerate(topics):
        progress.reached(topic, number)
    progress.reached(topics[0], 99)
    text = progress.text or ""
    assert len(text) <= CURSOR_LIMIT_BYTES
    again = parse_cursor(text, MANY)
    assert again.partial
    assert topics[0] in again.positions
    assert list(again.positions)[:-1] == topics[-len(again.positions) + 1 :]
    assert [progress.position(topic) for topic in topics[1:]] == list(range(1, 60))


@pytest.mark.parametrize(
    "text",
    ["x", "1~", "1~t.a", "1~t.a=", "1~t.a=-1", "1~u.a=1", "1~t.a=1~", "1++", "\u0661", "1~t.a=" + "1" * 18, "1" * 5000],
)
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Last-Event-ID"):
        parse_cursor(text, MANY)
    with pytest.raises(InvalidRequest, match="Last-Event-ID"):
        parse_cursor(text, ONE)
