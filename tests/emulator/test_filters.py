from __future__ import annotations

import contextlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.delivery.filters import LONGEST_FILTER, parse_filter
from emulator.errors import FilterError

RED = {"colour": "red"}


@pytest.mark.parametrize(
    ("text", "attributes", "delivered"),
    [
        ("", {}, True),
        ("   ", {}, True),
        ("attributes:colour", RED, True),
        ("attributes:colour", {}, False),
        ("attributes : colour", RED, True),
        ('attributes:"iana.org/language"', {"iana.org/language": "en"}, True),
        ('attributes.colour = "red"', RED, True),
        ('attributes.colour="red"', RED, True),
        ('attributes.colour = "Red"', RED, False),
        ('attributes.colour = "red"', {}, False),
        ('attributes."odd key" = "x"', {"odd key": "x"}, True),
        ('attributes.ce-type = "x"', {"ce-type": "x"}, True),
        ('attributes.colour != "red"', RED, False),
        ('attributes.colour != "blue"', RED, True),
        ('attributes.colour != "red"', {}, True),
        ('hasPrefix(attributes.colour, "re")', RED, True),
        ('hasPrefix(attributes.colour, "ed")', RED, False),
        ('hasPrefix(attributes.colour, "")', {}, False),
        ("NOT attributes:colour", {}, True),
        ("-attributes:colour", RED, False),
        ("NOT (attributes:a OR attributes:b)", {"b": ""}, False),
        ("attributes:a AND attributes:b", {"a": "", "b": ""}, True),
        ("attributes:a AND attributes:b AND attributes:c", {"a": "", "b": ""}, False),
        ("attributes:a OR attributes:b", {"b": ""}, True),
        ("attributes:a OR NOT attributes:b", {"b": ""}, False),
        ("attributes:a AND (attributes:b OR attributes:c)", {"a": "", "c": ""}, True),
        ("(attributes:a AND attributes:b) OR attributes:c", {"c": ""}, True),
        ("((attributes:a))", {"a": ""}, True),
        (r'attributes.a = "say \"hi\" \\ \n"', {"a": 'say "hi" \\ \n'}, True),
        (r'attributes.a = "\u00e4\x41\101\U0001F600"', {"a": "äAA\U0001f600"}, True),
        ('attributes.a = "AND OR NOT"', {"a": "AND OR NOT"}, True),
        ("attributes:AND", {"AND": ""}, True),
    ],
)
def test_a_filter_delivers_what_it_describes(text: str, attributes: Mapping[str, str], delivered: bool) -> None:
    assert parse_filter(text)(attributes) is delivered


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attributes:a AND attributes:b OR attributes:c", "put parentheses"),
        ("attributes:a OR attributes:b AND attributes:c", "put parentheses"),
        ("attributes:a attributes:b", "expected AND, OR or the end"),
        ("attributes", r"expected \., not 'the end'"),
        ("attributes.a", "expected = or !="),
        ("attributes.a = red", "string in double quotes"),
        ("attributes.a = 'red'", "not part of the filter language"),
        ('attributes.a = "red', "unfinished string"),
        ('attributes.a > "red"', "not part of the filter language"),
        ("labels:a", "expected attributes"),
        ("attributes:", "expected an attribute key"),
        ("attributes:a AND", "expected attributes"),
        ("(attributes:a", r"expected \)"),
        ("attributes:a)", "expected AND, OR or the end"),
        ("not attributes:a", "expected attributes"),
        ("NOT NOT attributes:a", "expected attributes"),
        ('hasPrefix(attributes:a, "x")', r"expected \."),
        ('hasprefix(attributes.a, "x")', "expected attributes"),
        ("hasPrefix(attributes.a)", "expected ,"),
        (r'attributes.a = "\q"', "unknown escape"),
        (r'attributes.a = "\ud800"', "no Unicode character"),
        (r'attributes.a = "\UFFFFFFFF"', "no Unicode character"),
        ("(" * 70 + "attributes:a" + ")" * 70, "nested"),
    ],
)
def test_a_wrong_filter_says_where_and_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(FilterError, match=said):
        parse_filter(text)


def test_a_filter_has_at_most_256_bytes_not_characters() -> None:
    frame = 'attributes.a = ""'
    longest = "x" * (LONGEST_FILTER - len(frame))
    assert parse_filter(f'attributes.a = "{longest}"')({"a": longest})
    with pytest.raises(FilterError, match="257 bytes"):
        parse_filter(f'attributes.a = "{longest}x"')
    with pytest.raises(FilterError, match="bytes"):
        parse_filter('attributes.a = "' + "ä" * 125 + '"')


keys = st.sampled_from(["a", "b", "c"])
values = st.sampled_from(["", "x", "xy"])
comparisons = st.one_of(
    st.builds(lambda k: (f"attributes:{k}", f"{k!r} in m"), keys),
    st.builds(lambda k, v: (f'attributes.{k} = "{v}"', f"m.get({k!r}) == {v!r}"), keys, values),
    st.builds(lambda k, v: (f'attributes.{k} != "{v}"', f"m.get({k!r}) != {v!r}"), keys, values),
    st.builds(
        lambda k, v: (f'hasPrefix(attributes.{k}, "{v}")', f"({k!r} in m and m[{k!r}].startswith({v!r}))"),
        keys,
        values,
    ),
)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(lambda e: (f"NOT ({e[0]})", f"not ({e[1]})"), inner),
        st.builds(lambda e: (f"-({e[0]})", f"not ({e[1]})"), inner),
        st.builds(lambda e, f: (f"({e[0]}) AND ({f[0]})", f"({e[1]}) and ({f[1]})"), inner, inner),
        st.builds(lambda e, f: (f"({e[0]}) OR ({f[0]})", f"({e[1]}) or ({f[1]})"), inner, inner),
    ),
    max_leaves=4,
)


@given(expressions, st.dictionaries(keys, values))
def test_any_expression_means_what_the_same_python_means(expression: tuple[str, str], given: dict[str, str]) -> None:
    text, python = expression
    if len(text) <= LONGEST_FILTER:
        assert parse_filter(text)(given) is eval(python, {"m": given})  # noqa: S307  made above from fixed parts


@given(st.text(max_size=80))
def test_any_text_is_a_filter_or_a_filter_error(text: str) -> None:
    with contextlib.suppress(FilterError):
        assert parse_filter(text)({"a": "x"}) in {True, False}


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_value_can_be_written_with_escapes(value: str) -> None:
    written = "".join(f"\\U{ord(letter):08x}" for letter in value)
    assert parse_filter(f'attributes.a = "{written}"')({"a": value})
