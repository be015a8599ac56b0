"""Every proof of every small tree verifies, and none that was changed does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.ledger import (
    LedgerError,
    consistency_proof,
    inclusion_proof,
    nodes_from_leaves,
    verify_consistency,
    verify_inclusion,
)
from agent_mesh.ledger.errors import OutOfRange, ProofRefused, TileMissing
from agent_mesh.ledger.proofs import verify_subtree_consistency, verify_subtree_inclusion
from agent_mesh.ledger.tree import MAX_SIZE
from tests.unit.ledger.small_log import leaves_up_to, root_of

LARGEST = 130
LEAVES = leaves_up_to(400)
ROOTS = [root_of(size) for size in range(401)]
NODES = nodes_from_leaves(LEAVES)
ANY_HASHES = st.lists(st.binary(max_size=33), max_size=70)
ANY_NUMBER = st.one_of(st.integers(-2, 20), st.integers(-(1 << 70), 1 << 70))


@pytest.mark.parametrize("size", [*range(1, LARGEST), 255, 256, 257, 400])
def test_every_leaf_of_a_tree_has_a_proof_that_verifies(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(NODES, index, size)
        assert len(proof) <= (size - 1).bit_length()
        verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])


@pytest.mark.parametrize("size", [*range(1, LARGEST), 255, 256, 257, 400])
def test_every_older_tree_is_consistent(size: int) -> None:
    for old_size in range(1, size + 1):
        proof = consistency_proof(NODES, old_size, size)
        verify_consistency(old_size, size, proof, ROOTS[old_size], ROOTS[size])


@given(st.data())
def test_a_leaf_with_any_bit_of_its_proof_flipped_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 400))
    index = data.draw(st.integers(0, size - 1))
    hashes = [LEAVES[index], ROOTS[size], *inclusion_proof(NODES, index, size)]
    flip(hashes, data)
    leaf, root, *proof = hashes
    with pytest.raises(ProofRefused):
        verify_inclusion(leaf, index, size, proof, root)


@given(st.data())
def test_a_tree_with_any_bit_of_its_proof_flipped_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 400))
    old_size = data.draw(st.integers(1, size - 1))
    hashes = [ROOTS[old_size], ROOTS[size], *consistency_proof(NODES, old_size, size)]
    flip(hashes, data)
    old_root, root, *proof = hashes
    with pytest.raises(ProofRefused):
        verify_consistency(old_size, size, proof, old_root, root)


def flip(hashes: list[bytes], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(hashes) - 1))
    changed = int.from_bytes(hashes[which], "big") ^ (1 << data.draw(st.integers(0, 255)))
    hashes[which] = changed.to_bytes(32, "big")


@given(st.data())
def test_a_proof_of_another_length_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 400))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(NODES, index, size)
    at = data.draw(st.integers(0, len(proof)))
    longer = [*proof[:at], LEAVES[0], *proof[at:]]
    for changed in [longer, proof[:at] + proof[at + 1 :]] if at < len(proof) else [longer]:
        with pytest.raises(ProofRefused):
            verify_inclusion(LEAVES[index], index, size, changed, ROOTS[size])


@given(st.data())
def test_a_leaf_is_refused_at_any_other_place(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 400))
    index, other = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True))
    with pytest.raises(ProofRefused):
        verify_inclusion(LEAVES[index], other, size, inclusion_proof(NODES, index, size), ROOTS[size])


def test_two_trees_of_the_same_size_with_different_roots_are_refused() -> None:
    with pytest.raises(ProofRefused):
        verify_consistency(5, 5, [], ROOTS[5], ROOTS[6])


@given(numbers=st.tuples(ANY_NUMBER, ANY_NUMBER, ANY_NUMBER), proof=ANY_HASHES, roots=st.tuples(*[st.binary()] * 2))
def test_anything_else_is_refused_by_name(
    numbers: tuple[int, int, int], proof: list[bytes], roots: tuple[bytes, bytes]
) -> None:
    first, second, third = numbers
    attempts: list[Callable[[], None]] = [
        lambda: verify_inclusion(roots[0], first, second, proof, roots[1]),
        lambda: verify_consistency(first, second, proof, *roots),
        lambda: verify_subtree_inclusion(roots[0], first, (second, third), proof, roots[1]),
        lambda: verify_subtree_consistency((first, second), third, proof, *roots),
    ]
    for attempt in attempts:
        try:
            attempt()
        except LedgerError:
            continue
        assert first == second or roots[0] == roots[1]


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (0, MAX_SIZE + 1)])
def test_no_proof_is_made_for_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(OutOfRange):
        inclusion_proof(NODES, index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (-1, 3), (4, 3), (1, MAX_SIZE + 1)])
def test_no_proof_is_made_between_sizes_that_do_not_follow(old: int, new: int) -> None:
    with pytest.raises(OutOfRange):
        consistency_proof(NODES, old, new)


def test_a_proof_that_needs_more_leaves_than_there_are_is_refused() -> None:
    with pytest.raises(TileMissing):
        inclusion_proof(NODES, 399, 600)
