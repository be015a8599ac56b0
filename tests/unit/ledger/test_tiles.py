"""Paths of tiles are written in one way, and bundles hold what was put in."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_mesh.ledger import Tile, parse_tile_path, tiles_of, touched
from agent_mesh.ledger.bundles import decode_entries, decode_hashes, encode_entries, encode_hashes
from agent_mesh.ledger.errors import MalformedEntry, MalformedTile, OutOfRange
from agent_mesh.ledger.tree import MAX_SIZE

TILES = st.builds(Tile, st.one_of(st.none(), st.integers(0, 63)), st.integers(0, MAX_SIZE), st.integers(1, 256))
LOOKALIKES = st.text(alphabet="tile/entrsx.p0123456789 \n\u0663", max_size=40)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 999, 17), "tile/1/999.p/17"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(None, 1234067, 8), "tile/entries/x001/x234/067.p/8"),
        (Tile(63, MAX_SIZE), "tile/63/x009/x223/x372/x036/x854/x775/807"),
    ],
)
def test_a_tile_has_its_path(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_tile_path(path) == tile


@given(TILES)
def test_a_path_leads_back_to_its_tile(tile: Tile) -> None:
    assert parse_tile_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "tile/0/000/", "/tile/0/000", "tile/00/000", "tile/64/000", "tile/-1/000", "tile/0/0", "tile/0/0000",
        "tile/0/x000/001", "tile/0/001/002", "tile/0/x001", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/08",
        "tile/0/000.p/", "tile/0/000\n",
        "tile/entries/000.p/257", "tile/0/\u0660\u0661\u0662", "tile/x/000", "tile/0/../000",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
    ],
)  # fmt: skip
def test_what_is_no_path_of_a_tile_is_refused(path: str) -> None:
    with pytest.raises(MalformedTile):
        parse_tile_path(path)


@given(
    st.one_of(st.text(), LOOKALIKES, st.tuples(st.sampled_from(["tile/0/", "tile/entries/"]), LOOKALIKES).map("".join))
)
@example("tile/0/x000/000")
def test_any_other_text_is_refused_by_name(path: str) -> None:
    try:
        tile = parse_tile_path(path)
    except MalformedTile:
        return
    assert tile.path == path
    assert not PurePosixPath(path).is_absolute()


@pytest.mark.parametrize(("level", "index", "width"), [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_what_no_tile_can_be_is_refused(level: int, index: int, width: int) -> None:
    with pytest.raises(OutOfRange):
        Tile(level, index, width)


@given(old=st.integers(0, 200_000), added=st.integers(0, 3000))
def test_an_append_touches_exactly_the_tiles_that_are_new_or_wider(old: int, added: int) -> None:
    assert set(touched(old, old + added)) == set(tiles_of(old + added)) - set(tiles_of(old))


@pytest.mark.parametrize(("old", "new"), [(-1, 0), (2, 1), (0, MAX_SIZE + 1)])
def test_a_tree_that_shrinks_touches_nothing(old: int, new: int) -> None:
    with pytest.raises(OutOfRange):
        list(touched(old, new))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_holds_its_entries(entries: list[bytes]) -> None:
    assert decode_entries(encode_entries(entries)) == entries


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=256))
def test_a_tile_holds_its_hashes(hashes: list[bytes]) -> None:
    assert decode_hashes(encode_hashes(hashes)) == hashes


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_bundle_or_refused_by_name(held: bytes) -> None:
    try:
        entries = decode_entries(held)
    except MalformedTile:
        return
    assert encode_entries(entries) == held


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_tile_or_refused_by_name(held: bytes) -> None:
    try:
        hashes = decode_hashes(held)
    except MalformedTile:
        return
    assert encode_hashes(hashes) == held


def test_too_many_and_too_long_entries_are_refused() -> None:
    with pytest.raises(MalformedTile, match="not 257"):
        encode_entries([b""] * 257)
    with pytest.raises(MalformedTile, match="not 257"):
        decode_entries(bytes(2 * 257))
    with pytest.raises(MalformedEntry, match="at most 65535 bytes"):
        encode_entries([bytes(65536)])
    with pytest.raises(MalformedTile, match="32 bytes"):
        encode_hashes([bytes(31)])
