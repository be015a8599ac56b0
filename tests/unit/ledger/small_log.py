"""A log in memory, grown batch by batch from its own tiles, as a test needs one."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_mesh.ledger import (
    Checkpoint,
    CompactRange,
    LocalSigner,
    Note,
    Tile,
    VerifierKey,
    grow,
    leaf_hash,
    sign_note,
    tree_root,
    verifier_key,
)

ORIGIN = "ledger.example/mesh"


def entries_up_to(size: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(size)]


def leaves_up_to(size: int) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries_up_to(size)]


@dataclass
class SmallLog:
    """Tiles are kept by place, the widest of each, as the documents of a database are."""

    signer: LocalSigner = field(default_factory=lambda: LocalSigner(ORIGIN, bytes(32)))
    tree: CompactRange = field(default_factory=CompactRange)
    tiles: dict[Tile, bytes] = field(default_factory=dict)

    def append(self, entries: list[bytes]) -> set[Tile]:
        """Grow by a batch; return what was written."""
        growth = grow(self.tree, entries, self.read)
        self.tree = growth.tree
        self.tiles.update({tile.full: held for tile, held in growth.tiles.items()})
        return set(growth.tiles)

    def read(self, tile: Tile) -> bytes | None:
        return self.tiles.get(tile.full)

    @property
    def key(self) -> VerifierKey:
        return verifier_key(self.signer)

    def checkpoint(self) -> Note:
        return sign_note(Checkpoint(self.signer.name, self.tree.end, self.tree.root).text, self.signer)


def root_of(size: int) -> bytes:
    return tree_root(leaves_up_to(size))
