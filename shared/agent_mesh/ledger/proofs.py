"""Proofs that a leaf is in a tree, and that a tree, or a subtree, is part of a later one (RFC 9162 section 2.1).

All of them are one walk from the root down to a range of leaves. Beside each step lies a sibling, and the siblings'
hashes are the proof. Subtrees are those of draft-ietf-plants-merkle-tree-certs: ranges `[start, end)` whose start is a
multiple of the smallest power of two that is not smaller than their width. A leaf is one, and so is every older tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agent_mesh.ledger.errors import OutOfRange, ProofRefused
from agent_mesh.ledger.tree import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, cover, fold, node_hash, split

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""Gives the hash of the node at (level, index), of which all leaves are in the tree."""


def inclusion_proof(node: NodeReader, index: int, size: int) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` leaves.

    Raises:
        OutOfRange: that tree has no such leaf.
    """
    _check_index(index, 0, size)
    return _proof(node, _walk(index, index + 1, size))


def consistency_proof(node: NodeReader, old_size: int, new_size: int) -> list[bytes]:
    """Return the proof that the first `old_size` leaves of the tree of `new_size` are the older tree.

    Raises:
        OutOfRange: the sizes are reversed, no tree can have them, or the older tree is empty.
    """
    _check_old_tree(old_size, new_size)
    return _proof(node, _walk(0, old_size, new_size))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf with this hash is leaf `index` of the tree with this size and root.

    Raises:
        OutOfRange: a tree of `size` leaves has no such leaf.
        ProofRefused: the proof does not lead from the leaf to the root.
    """
    verify_subtree_inclusion(leaf, index, (0, size), proof, root)


def verify_subtree_inclusion(
    leaf: bytes, index: int, subtree: tuple[int, int], proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf with this hash is leaf `index` of a subtree `(start, end)` that has this root.

    Raises:
        OutOfRange: that is no subtree, or leaf `index` is not in it.
        ProofRefused: the proof does not lead from the leaf to the root.
    """
    start, end = subtree
    _check_subtree(start, end, end)
    _check_index(index, start, end)
    if len(leaf) != HASH_BYTES:
        raise ProofRefused(f"the hash of a leaf is {HASH_BYTES} bytes long, not {len(leaf)}")
    position = index - start
    _verify(_walk(position, position + 1, end - start), leaf, proof, root)


def verify_consistency(old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree with the old size and root is how the one with the new size and root began.

    Raises:
        OutOfRange: the sizes are reversed, no tree can have them, or the older tree is empty.
        ProofRefused: the proof does not lead to both roots.
    """
    _check_old_tree(old_size, new_size)
    _verify(_walk(0, old_size, new_size), old_root, proof, new_root)


def verify_subtree_consistency(
    subtree: tuple[int, int], size: int, proof: Sequence[bytes], subtree_root: bytes, root: bytes
) -> None:
    """Check that the subtree `(start, end)` with `subtree_root` is part of the tree with this size and root.

    An empty subtree is part of every tree, and says nothing about it.

    Raises:
        OutOfRange: the tree has no such subtree.
        ProofRefused: the proof does not lead to both roots.
    """
    start, end = subtree
    _check_subtree(start, end, size)
    if start < end:
        _verify(_walk(start, end, size), subtree_root, proof, root)
    elif proof or subtree_root != EMPTY_ROOT:
        raise ProofRefused("a range without leaves has the hash of nothing as its root, and an empty proof")


@dataclass(frozen=True)
class _Sibling:
    """The leaves beside one step of the walk. `inside` ones belong to the range that is looked for."""

    begin: int
    end: int
    on_left: bool = False
    inside: bool = False


@dataclass(frozen=True)
class _Walk:
    """From the root down to the leaves `[begin, end)`: the right end, at least, of the range that is looked for."""

    begin: int
    end: int
    siblings: tuple[_Sibling, ...]

    @property
    def whole(self) -> bool:
        """True if the walk ends at the whole range that is looked for: whoever verifies knows its hash."""
        return not any(sibling.inside for sibling in self.siblings)


def _walk(start: int, end: int, size: int) -> _Walk:
    low, high, siblings = 0, size, list[_Sibling]()
    while (low, high) != (start, end):
        middle = low + split(high - low)
        if end <= middle:
            siblings.append(_Sibling(middle, high))
            high = middle
            continue
        straddles = start < middle
        siblings.append(_Sibling(low, middle, on_left=True, inside=straddles))
        low = middle
        start = max(start, middle)
    return _Walk(start, end, tuple(siblings))


def _proof(node: NodeReader, walk: _Walk) -> list[bytes]:
    def subtree(begin: int, end: int) -> bytes:
        return fold([node(level, index) for level, index in cover(begin, end)])

    siblings = [subtree(sibling.begin, sibling.end) for sibling in reversed(walk.siblings)]
    return siblings if walk.whole else [subtree(walk.begin, walk.end), *siblings]


def _verify(walk: _Walk, inner_root: bytes, proof: Sequence[bytes], root: bytes) -> None:
    hashes = list(proof)
    wanted = len(walk.siblings) + (not walk.whole)
    if len(hashes) != wanted:
        raise ProofRefused(f"the proof has {len(hashes)} hashes, for this place in a tree of this size it is {wanted}")
    if hashes and any(len(value) != HASH_BYTES for value in (inner_root, *hashes)):
        raise ProofRefused(f"a hash in the proof, or one that it is about, is not {HASH_BYTES} bytes long")
    inner = outer = inner_root if walk.whole else hashes.pop(0)
    for sibling, value in zip(reversed(walk.siblings), hashes, strict=True):
        outer = node_hash(value, outer) if sibling.on_left else node_hash(outer, value)
        inner = node_hash(value, inner) if sibling.inside else inner
    if inner != inner_root:
        raise ProofRefused("the proof does not lead to the root of the older tree")
    if outer != root:
        raise ProofRefused("the proof does not lead to the root of the tree")


def _check_index(index: int, start: int, end: int) -> None:
    if not start <= index < end <= MAX_SIZE:
        raise OutOfRange(f"there is no leaf {index} in [{start}, {end})")


def _check_old_tree(old_size: int, new_size: int) -> None:
    if not 0 < old_size <= new_size <= MAX_SIZE:
        raise OutOfRange(f"no proof leads from {old_size} to {new_size} leaves; every tree begins with the empty one")


def _check_subtree(start: int, end: int, size: int) -> None:
    if not 0 <= start <= end <= size <= MAX_SIZE:
        raise OutOfRange(f"a tree of {size} leaves has no range [{start}, {end})")
    if start < end and start & ((1 << (end - start - 1).bit_length()) - 1):
        raise OutOfRange(f"[{start}, {end}) is no subtree: its start is not a multiple of its width, rounded up")
