from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from emulator.usage.ledger import Ledger

ENTRIES = st.tuples(st.sampled_from(["", *"abcdefgh"]), st.sampled_from("xy"), st.sampled_from("rw"), st.integers(0, 9))


@given(st.lists(ENTRIES, max_size=80), st.integers(1, 5))
def test_all_accounts_add_up_to_the_total_whatever_is_crowded_out(
    entries: list[tuple[str, str, str, int]], most: int
) -> None:
    ledger = Ledger(most)
    for trace, method, kind, count in entries:
        ledger.add(trace, method, {kind: count})
    accounts = [*(account for _, account in ledger.latest()), ledger.untraced, ledger.older]
    assert sum((account.counts for account in accounts), Counter()) == +ledger.total
    assert sum(count for *_, count in entries) == ledger.total.total()
    assert len(ledger) <= most


def test_the_trace_that_was_used_longest_ago_is_crowded_out() -> None:
    ledger = Ledger(2)
    for trace in "aba":
        ledger.add(trace, "Commit", {"writes": 1})
    ledger.add("c", "Commit", {"writes": 1})
    assert [trace for trace, _ in ledger.latest()] == ["c", "a"]
    assert ledger.older.counts == {("Commit", "writes"): 1}
    assert ledger.find("b") is None
