from __future__ import annotations

import pytest

from emulator.firestore.names import format_field_path, id_key, name_key, parse_document, parse_field_path
from emulator.refusals import Refusal

ROOT = "projects/p/databases/(default)/documents"


@pytest.mark.parametrize("path", ["c", "c//b", "c/..", "c/.", "__c__/b", "c/__b__", "c/" + "a" * 1501, ""])
def test_a_name_that_no_document_may_have_is_refused(path: str) -> None:
    with pytest.raises(Refusal):
        parse_document(f"{ROOT}/{path}")


def test_a_name_may_be_a_hundred_collections_deep_and_no_deeper() -> None:
    parse_document(f"{ROOT}/" + "/".join(["a"] * 200))
    with pytest.raises(Refusal):
        parse_document(f"{ROOT}/" + "/".join(["a"] * 202))


def test_numeric_ids_come_first_and_in_the_order_of_their_numbers() -> None:
    ids = ["b", "__id10__", "a", "__id9__", "__id-1__", "é"]
    assert sorted(ids, key=id_key) == ["__id-1__", "__id9__", "__id10__", "a", "b", "é"]


def test_names_are_ordered_segment_by_segment() -> None:
    assert name_key("c/a/s/x") < name_key("c/a!/s/x")
    assert name_key("c/a") < name_key("c/a/s/x") < name_key("c/b")


@pytest.mark.parametrize("path", [("a",), ("a", "b c"), ("`", "\\"), ("1a", "é.x")])
def test_a_field_path_survives_being_written_and_read(path: tuple[str, ...]) -> None:
    assert parse_field_path(format_field_path(path)) == path


@pytest.mark.parametrize("text", ["", "a..b", "a-b", "`a", "1a", "é", ".a", "a.", "``"])
def test_a_field_path_that_must_be_quoted_and_is_not_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        parse_field_path(text)
