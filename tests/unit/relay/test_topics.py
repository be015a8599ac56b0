"""Names of topics and what patterns mean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agent_mesh.contracts.problems import InvalidRequest
from agent_mesh.relay import Topic, TopicPattern, checked_topic, parse_patterns

WORDS = st.lists(st.sampled_from(["a", "b", "tasks", "A_1-x"]), min_size=1, max_size=4)
PATTERN_WORDS = st.lists(st.sampled_from(["a", "b", "tasks", "*"]), min_size=1, max_size=4)


@pytest.mark.parametrize("name", ["access.intent", "a", "A-1_b.0", ".".join("abcdefgh"), "x" * 128])
def test_a_topic_is_words_joined_by_dots(name: str) -> None:
    assert checked_topic(name) == name
    assert TypeAdapter(Topic).validate_python(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "ä",
        "_a",
        "__a__",
        "-a",
        "a/b",
        "a\n",
        "a*",
        "*",
        "a.**",
        "x" * 129,
        "a.b" * 9,
    ],
)
def test_anything_else_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequest, match="joined by dots") as refused:
        checked_topic(name)
    assert refused.value.errors
    assert refused.value.errors[0].field == "topic"
    with pytest.raises(ValidationError, match="joined by dots"):
        TypeAdapter(Topic).validate_python(name)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("tasks.a", ["tasks.a"], ["tasks", "tasks.b", "tasksxa", "tasks.a.b"]),
        ("tasks.*", ["tasks.a", "tasks.b-1"], ["tasks", "tasks.a.b", "xtasks.a"]),
        ("*.a", ["tasks.a"], ["a", "tasks.b", "x.y.a"]),
        ("tasks.**", ["tasks.a", "tasks.a.b"], ["tasks", "tasksa", "b.tasks.a"]),
        ("**", ["a", "a.b.c"], []),
        ("*", ["a"], ["a.b"]),
    ],
)
def test_a_pattern_means_what_its_words_say(pattern: str, yes: list[str], no: list[str]) -> None:
    (parsed,) = parse_patterns([pattern])
    assert [topic for topic in yes if not parsed.matches(topic)] == []
    assert [topic for topic in no if parsed.matches(topic)] == []


@given(PATTERN_WORDS, st.booleans(), WORDS)
def test_matching_goes_word_by_word(pattern: list[str], rest: bool, topic: list[str]) -> None:
    fits = len(topic) > len(pattern) if rest else len(topic) == len(pattern)
    fits = fits and all(one in {"*", word} for one, word in zip(pattern, topic, strict=False))
    parsed = TopicPattern(".".join([*pattern, "**"] if rest else pattern))
    assert parsed.matches(".".join(topic)) == fits
    assert not fits or ".".join(topic).startswith(parsed.prefix)
    assert parsed.literal == (not rest and "*" not in pattern)


@pytest.mark.parametrize("pattern", ["**.a", "a.***", "a*", "a.*b", "", "*.", "a.**.b", "x" * 129])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(repr(pattern[:128]))):
        parse_patterns(["a", pattern])


def test_a_stream_names_one_to_sixteen_patterns_each_once() -> None:
    assert parse_patterns(["a", "b.*", "a"]) == (TopicPattern("a"), TopicPattern("b.*"))
    for count in (0, 17):
        with pytest.raises(InvalidRequest, match="1 to 16"):
            parse_patterns([f"t{number}" for number in range(count)])
