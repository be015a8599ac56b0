"""Ids: equal where they must be, different where they must be, fit for Firestore and for a path."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from agent_mesh.contracts.values import TaskId
from agent_mesh.platform.ids import derived_id, fingerprint, random_id

PARTS = st.lists(st.text(max_size=8), max_size=4).map(tuple)
SHAPE = re.compile(r"run_[a-z2-7]{26}")


@given(PARTS, PARTS)
def test_ids_are_equal_for_equal_parts_and_for_nothing_else(some: tuple[str, ...], others: tuple[str, ...]) -> None:
    assert (derived_id("run", *some) == derived_id("run", *others)) == (some == others)
    assert (fingerprint(*some) == fingerprint(*others)) == (some == others)


@given(st.text(min_size=1))
def test_one_text_cut_at_different_places_gives_different_ids(text: str) -> None:
    cuts = range(len(text) + 1)
    assert len({derived_id("run", text[:cut], text[cut:]) for cut in cuts}) == len(cuts)


def test_an_id_today_is_the_id_of_tomorrow() -> None:
    assert derived_id("task", "a", "b") == "task_hsovsecfxsehn6oqhgn37mc4ni"
    assert fingerprint("a") == "3b196fd4907bedf51c3090e9835f2f7cb61e7ee1b2299ea3b8fed9b4183a822a"


def test_random_ids_are_all_different() -> None:
    assert len({random_id("run") for _ in range(1000)}) == 1000


@given(PARTS)
def test_every_id_is_a_name_of_26_characters_behind_its_prefix(parts: tuple[str, ...]) -> None:
    for made in (derived_id("run", *parts), random_id("run")):
        assert SHAPE.fullmatch(made)
        assert TypeAdapter(TaskId).validate_python(made) == made


def test_ids_spread_over_the_key_space() -> None:
    firsts = {derived_id("run", str(number))[4] for number in range(500)}
    assert len(firsts) == 32
