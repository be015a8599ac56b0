"""The tree against the recursive definition of RFC 9162 section 2.1.1, and ranges however they are put together."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.ledger import CompactRange, node_hash, tree_root
from agent_mesh.ledger.errors import OutOfRange
from agent_mesh.ledger.tree import EMPTY_ROOT, MAX_SIZE, cover
from tests.unit.ledger.small_log import leaves_up_to

LEAVES = leaves_up_to(300)


@cache
def defined_root(begin: int, end: int) -> bytes:
    """MTH(D[begin:end]) word for word."""
    if begin == end:
        return EMPTY_ROOT
    if end - begin == 1:
        return LEAVES[begin]
    k = 1
    while 2 * k < end - begin:
        k *= 2
    return node_hash(defined_root(begin, begin + k), defined_root(begin + k, end))


@pytest.mark.parametrize("size", range(301))
def test_the_root_is_the_defined_one(size: int) -> None:
    assert tree_root(LEAVES[:size]) == defined_root(0, size)


@given(cuts=st.lists(st.integers(0, 300), max_size=6), merged=st.booleans())
def test_a_range_is_the_same_in_whatever_pieces_it_came(cuts: list[int], merged: bool) -> None:
    bounds = [0, *sorted(cuts), 300]
    whole = CompactRange()
    for begin, end in pairwise(bounds):
        piece = CompactRange(begin, begin).append(LEAVES[begin:end])
        whole = whole.merge(piece) if merged else whole.append(LEAVES[begin:end])
    assert whole == CompactRange().append(LEAVES)
    assert whole.root == defined_root(0, 300)


@given(bounds=st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300)))
def test_ranges_that_begin_anywhere_merge(bounds: tuple[int, int, int]) -> None:
    begin, middle, end = sorted(bounds)
    left = CompactRange(begin, begin).append(LEAVES[begin:middle])
    right = CompactRange(middle, middle).append(LEAVES[middle:end])
    assert left.merge(right) == CompactRange(begin, begin).append(LEAVES[begin:end])


@given(begin=st.integers(0, MAX_SIZE), width=st.integers(0, MAX_SIZE))
def test_a_range_of_any_size_is_covered_by_few_whole_nodes(begin: int, width: int) -> None:
    end = min(MAX_SIZE, begin + width)
    at, nodes = begin, list(cover(begin, end))
    for level, index in nodes:
        assert index << level == at
        at = (index + 1) << level
    assert at == end
    assert len(nodes) <= 126


@pytest.mark.parametrize(
    ("begin", "end", "hashes"),
    [(-1, 0, ()), (2, 1, ()), (0, MAX_SIZE + 1, (b"0" * 32,)), (0, 1, ()), (0, 2, (b"0" * 32,) * 2), (0, 1, (b"0",))],
)
def test_what_is_no_range_is_refused(begin: int, end: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(OutOfRange):
        CompactRange(begin, end, hashes)


def test_a_range_that_does_not_follow_is_refused() -> None:
    with pytest.raises(OutOfRange, match="begins at 5 does not follow one that ends at 4"):
        CompactRange().append(LEAVES[:4]).merge(CompactRange(5, 5))


def test_a_range_from_the_middle_has_no_root() -> None:
    with pytest.raises(OutOfRange, match="has no root"):
        _ = CompactRange(4, 4).append(LEAVES[4:6]).root
