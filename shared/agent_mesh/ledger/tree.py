"""The Merkle tree of RFC 9162 section 2.1: hashes, and ranges of leaves kept as a few of them.

A node is named by its level and its index: it covers the leaves `[index << level, (index + 1) << level)`. Only nodes
with all their leaves are ever stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from agent_mesh.ledger.errors import OutOfRange

HASH_BYTES: Final = 32
MAX_SIZE: Final = (1 << 63) - 1
"""Most leaves of a tree: what a Firestore integer holds."""

EMPTY_ROOT: Final = hashlib.sha256().digest()
"""Root of the tree without leaves."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(_NODE + left + right).digest()


def tree_root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root of the tree with these leaves."""
    return CompactRange().append(leaf_hashes).root


def split(width: int) -> int:
    """Return how many of `width` leaves the left child covers: the largest power of two that is smaller."""
    return 1 << (width - 1).bit_length() - 1


def cover(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (level, index) of the fewest whole nodes that cover the leaves `[begin, end)`, from left to right."""
    while begin < end:
        aligned = (begin & -begin).bit_length() - 1 if begin else end.bit_length()
        level = min(aligned, (end - begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a subtree whose covering nodes have these hashes, from left to right."""
    if not hashes:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


@dataclass(frozen=True)
class CompactRange:
    """The leaves `[begin, end)` as the hashes of the fewest nodes that cover them: never more than twice 63."""

    begin: int = 0
    end: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no range.

        Raises:
            OutOfRange: the bounds are reversed or too large, or the hashes are not as many as cover the range.
        """
        if not 0 <= self.begin <= self.end <= MAX_SIZE:
            raise OutOfRange(f"[{self.begin}, {self.end}) is no range of leaves of a tree")
        wanted = sum(1 for _ in cover(self.begin, self.end))
        if len(self.hashes) != wanted or any(len(node) != HASH_BYTES for node in self.hashes):
            raise OutOfRange(f"the range [{self.begin}, {self.end}) is {wanted} hashes of {HASH_BYTES} bytes")

    @property
    def root(self) -> bytes:
        """Root of the tree whose leaves these are.

        Raises:
            OutOfRange: the range does not begin at the first leaf.
        """
        if self.begin:
            raise OutOfRange(f"a range from leaf {self.begin} on has no root: merge it with what stands before it")
        return fold(self.hashes)

    def append(self, leaf_hashes: Iterable[bytes]) -> CompactRange:
        """Return the range that has these leaves as well."""
        end, nodes = self.end, self._nodes()
        for leaf in leaf_hashes:
            _push(nodes, 0, end, leaf)
            end += 1
        return CompactRange(self.begin, end, tuple(node for _, _, node in nodes))

    def merge(self, following: CompactRange) -> CompactRange:
        """Return the range of both.

        Raises:
            OutOfRange: `following` does not begin where this one ends.
        """
        if following.begin != self.end:
            raise OutOfRange(f"a range that begins at {following.begin} does not follow one that ends at {self.end}")
        nodes = self._nodes()
        for level, index, node in following._nodes():
            _push(nodes, level, index, node)
        return CompactRange(self.begin, following.end, tuple(node for _, _, node in nodes))

    def _nodes(self) -> list[tuple[int, int, bytes]]:
        covering = cover(self.begin, self.end)
        return [(level, index, node) for (level, index), node in zip(covering, self.hashes, strict=True)]


def _push(nodes: list[tuple[int, int, bytes]], level: int, index: int, node: bytes) -> None:
    """Add the next node, and replace two children by their parent while there are two."""
    while nodes and index & 1 and nodes[-1][:2] == (level, index - 1):
        _, _, left = nodes.pop()
        level, index, node = level + 1, index >> 1, node_hash(left, node)
    nodes.append((level, index, node))
