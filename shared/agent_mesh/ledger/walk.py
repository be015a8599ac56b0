"""Builds a tree anew from its entries, bundle by bundle, and compares every tile with what the entries make it.

A walk may begin where an earlier one ended: of that, only the nodes that cover the tree are kept, and the tiles that
were partial then are read again and must be those nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agent_mesh.ledger.checkpoints import Checkpoint
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.ledger.fsck import Finding, PayloadReader, bundle_entries, entry_findings, finished
from agent_mesh.ledger.growth import TileReader, grow, nodes_from_tiles
from agent_mesh.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, touched
from agent_mesh.ledger.tree import HASH_BYTES, CompactRange, cover, leaf_hash


@dataclass
class Walk:
    """One walk over a ledger. `tree` is what was read and compared so far."""

    read: TileReader
    payload: PayloadReader
    size: int
    """How many entries there are to read."""

    tree: CompactRange = field(default_factory=CompactRange)
    signed: Sequence[Checkpoint] = ()
    """Checkpoints that the log has signed, now or before: at their sizes the tree must be theirs."""

    def findings(self) -> Iterator[list[Finding]]:
        """Yield what is wrong with each bundle and with the tiles that it completes, in the ledger's order.

        Where a bundle cannot be read the tree cannot be built any further, and the walk ends with it.
        """
        unfinished, fault = self._resumed()
        if fault:
            yield [fault]
            self.tree = CompactRange()
        for bundle in touched(self.tree.end, self.size):
            if bundle.level is not None:
                break
            try:
                entries = bundle_entries(self.read, bundle)
            except LedgerError as error:
                yield [Finding(bundle.path, str(error))]
                return
            yield [*entry_findings(entries, self.tree.end, self.payload), *self._grown(entries, unfinished)]
        yield [
            _another_tree(each) for each in self.signed if each.size == self.tree.end and each.root != self.tree.root
        ]

    def _grown(self, entries: list[bytes], unfinished: dict[Tile, bytes]) -> Iterator[Finding]:
        """Append a bundle's entries; yield the tiles that are not what they should be then."""
        yield from self._passed(entries)
        growth = grow(self.tree, entries, lambda tile: unfinished.get(tile.full))
        self.tree = growth.tree
        unfinished.update({tile.full: held for tile, held in growth.tiles.items() if tile.level is not None})
        for tile in finished((tile for tile in growth.tiles if tile.level is not None), self.size):
            if self.read(tile) != unfinished[tile.full]:
                yield Finding(tile.path, "is not what the entries make it")
            if tile.width == TILE_WIDTH:
                del unfinished[tile.full]

    def _passed(self, entries: list[bytes]) -> Iterator[Finding]:
        """Yield each checkpoint on the way that is of another tree."""
        for checkpoint in self.signed:
            within = checkpoint.size - self.tree.end
            if 0 <= within < len(entries):
                then = self.tree.append(leaf_hash(entry) for entry in entries[:within])
                if then.root != checkpoint.root:
                    yield _another_tree(checkpoint)

    def _resumed(self) -> tuple[dict[Tile, bytes], Finding | None]:
        """Return the tiles that are partial where the walk begins, and what is wrong with them."""
        if not self.tree.end:
            return {}, None
        try:
            node = nodes_from_tiles(self.tree.end, self.read)
            covering = [node(level, index) for level, index in cover(0, self.tree.end)]
        except LedgerError as error:
            return {}, Finding(f"the first {self.tree.end} entries", f"cannot be compared with what was seen: {error}")
        if tuple(covering) != self.tree.hashes:
            return {}, Finding(f"the first {self.tree.end} entries", "are not those that were seen before")
        return {tile.full: self._held(tile) for tile in _partial(self.tree.end)}, None

    def _held(self, tile: Tile) -> bytes:
        return (self.read(tile) or b"")[: tile.width * HASH_BYTES]


def _another_tree(checkpoint: Checkpoint) -> Finding:
    return Finding(f"checkpoint {checkpoint.size}", "the log has signed another tree than the one of the entries")


def _partial(size: int) -> Iterator[Tile]:
    level = 0
    while count := size >> (TILE_HEIGHT * level):
        index, width = divmod(count, TILE_WIDTH)
        if width:
            yield Tile(level, index, width)
        level += 1
