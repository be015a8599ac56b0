"""The tree as C2SP tlog-tiles (https://c2sp.org/tlog-tiles): which tiles and bundles there are, and their paths.

A tile of level L holds up to 256 hashes of nodes of the tree's level 8 * L. Only full tiles are hashed into the level
above. Entry bundles hold the entries of the tiles of level 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from agent_mesh.ledger.errors import MalformedTile, OutOfRange
from agent_mesh.ledger.tree import MAX_SIZE

TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8
MAX_LEVEL: Final = 63
"""Highest level that a path may name. A tree of MAX_SIZE leaves needs 7."""

ENTRIES: Final = "entries"

_PATH: Final = re.compile(
    rf"tile/(?P<level>{ENTRIES}|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{{3}}/){{0,6}}[0-9]{{3}})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True)
class Tile:
    """A tile, or with `level` None a bundle of entries, by its place; `width` is how many hashes or entries it has."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        """Refuse what no tile can be.

        Raises:
            OutOfRange: the level, the index or the width is out of bounds.
        """
        level_fits = self.level is None or 0 <= self.level <= MAX_LEVEL
        if not level_fits or not 0 <= self.index <= MAX_SIZE or not 1 <= self.width <= TILE_WIDTH:
            raise OutOfRange(f"there is no tile with level {self.level}, index {self.index} and width {self.width}")

    @property
    def full(self) -> Tile:
        """The tile at this place once it is full."""
        return replace(self, width=TILE_WIDTH)

    @property
    def path(self) -> str:
        """Path as a log serves it, such as `tile/0/x001/x234/067.p/8`."""
        level = ENTRIES if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.index)}{partial}"


def index_path(index: int) -> str:
    """Return a tile's index in groups of three digits, all but the last with an x in front."""
    digits = str(index)
    padded = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [padded[at : at + 3] for at in range(0, len(padded), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def parse_tile_path(path: str) -> Tile:
    """Return the tile or bundle that a path names, in the one way in which it can be written.

    Raises:
        MalformedTile: it names none.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        raise MalformedTile(f"{path[:120]!r} is no tile's path: tile/<L>/<N> or tile/entries/<N>, with .p/<W> or not")
    level = None if found["level"] == ENTRIES else int(found["level"])
    index = int(found["index"].replace("/", "").replace("x", ""))
    try:
        tile = Tile(level, index, int(found["width"] or TILE_WIDTH))
    except OutOfRange as error:
        raise MalformedTile(str(error)) from None
    if tile.path != path:
        raise MalformedTile(f"{path[:120]!r} is written {tile.path!r}")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every tile and bundle of the tree of `size` leaves: bundles first, then level by level."""
    return touched(0, size)


def touched(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the tiles and bundles that are new or wider in the tree of `new_size` leaves.

    Raises:
        OutOfRange: the sizes are reversed or no tree can have them.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise OutOfRange(f"a tree does not grow from {old_size} to {new_size} leaves")
    yield from _touched_of_level(None, old_size, new_size)
    level = 0
    while new_size >> (TILE_HEIGHT * level):
        shift = TILE_HEIGHT * level
        yield from _touched_of_level(level, old_size >> shift, new_size >> shift)
        level += 1


def _touched_of_level(level: int | None, old_count: int, new_count: int) -> Iterator[Tile]:
    if old_count < new_count:
        for index in range(old_count // TILE_WIDTH, -(-new_count // TILE_WIDTH)):
            yield Tile(level, index, min(TILE_WIDTH, new_count - index * TILE_WIDTH))
