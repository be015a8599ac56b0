"""One document of two: real ledgers, no servers."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.firestore.usage import Usage as FirestoreUsage
from emulator.prices import micro_usd, pico_usd
from emulator.pubsub.usage import Usage as PubsubUsage
from emulator.usage.merge import merge_usage
from emulator.usage.report import Question


@pytest.fixture
def firestore() -> FirestoreUsage:
    """Trace a wrote twice, b read; one write had no trace."""
    usage = FirestoreUsage()
    for trace, method, kind, count in (
        ("a", "Commit", "writes", 2),
        ("b", "GetDocument", "reads", 1),
        ("", "Commit", "writes", 1),
    ):
        usage.books.ledger.add(trace, method, {kind: count})
    return usage


@pytest.fixture
def pubsub() -> PubsubUsage:
    """Trace a published a kilobyte, c two."""
    usage = PubsubUsage()
    for trace, size in (("a", 1000), ("c", 2000)):
        usage.books.ledger.add(trace, "Publish", {"publishes": 1, "publishedBytes": size})
    return usage


def merged(firestore: FirestoreUsage, pubsub: PubsubUsage, **question: Any) -> Any:
    asked = Question(**question)
    return merge_usage(firestore.report(asked), pubsub.report(asked))


def test_totals_hold_both_services_and_one_cost(firestore: FirestoreUsage, pubsub: PubsubUsage) -> None:
    document = merged(firestore, pubsub)
    totals = document["totals"]
    assert (totals["writes"], totals["reads"], totals["publishedBytes"]) == (3, 1, 3000)
    assert totals["costMicroUsd"] == micro_usd(3 * 900_000 + 300_000 + round(3000 * 40e12 / 2**40))
    assert sorted(document["byMethod"]) == ["firestore.Commit", "firestore.GetDocument", "pubsub.Publish"]
    assert document["traces"]["kept"] == {"firestore": 2, "pubsub": 2}
    assert (document["writtenOverOncePerSecond"], document["byResource"]) == ({}, {})


def test_a_trace_has_one_line_with_the_cost_of_both(firestore: FirestoreUsage, pubsub: PubsubUsage) -> None:
    traces = {line["trace"]: line for line in merged(firestore, pubsub)["traces"]["shown"]}
    assert sorted(traces) == ["a", "b", "c"]
    assert (traces["a"]["writes"], traces["a"]["publishedBytes"]) == (2, 1000)
    assert traces["a"]["costMicroUsd"] == micro_usd(2 * 900_000 + round(1000 * 40e12 / 2**40))
    assert not any("partial" in line for line in traces.values())


def test_lines_add_up_to_the_totals(firestore: FirestoreUsage, pubsub: PubsubUsage) -> None:
    document = merged(firestore, pubsub)
    lines = [*document["traces"]["shown"], document["traces"]["untraced"], document["traces"]["older"]]
    for kind in ("writes", "reads", "publishedBytes", "publishes"):
        assert sum(line.get(kind, 0) for line in lines) == document["totals"][kind]
    assert sum(pico_usd(line["costMicroUsd"]) for line in lines) == pytest.approx(
        pico_usd(document["totals"]["costMicroUsd"]), abs=len(lines)
    )


def test_the_trace_that_was_used_last_comes_first(firestore: FirestoreUsage, pubsub: PubsubUsage) -> None:
    for ledger, trace, used in (
        (firestore.books.ledger, "a", 10.0),
        (firestore.books.ledger, "b", 20.0),
        (pubsub.books.ledger, "a", 30.0),
        (pubsub.books.ledger, "c", 5.0),
    ):
        account = ledger.find(trace)
        assert account
        account.used = used
    shown = merged(firestore, pubsub)["traces"]["shown"]
    assert [line["trace"] for line in shown] == ["a", "b", "c"]
    assert shown[0]["lastUsed"] == "1970-01-01T00:00:30.000+00:00"


def test_one_trace_comes_with_its_operations_of_both(firestore: FirestoreUsage, pubsub: PubsubUsage) -> None:
    (line,) = merged(firestore, pubsub, trace="a")["traces"]["shown"]
    assert sorted(line["byMethod"]) == ["firestore.Commit", "pubsub.Publish"]
    assert line["byMethod"]["firestore.Commit"]["writes"] == 2
    (line,) = merged(firestore, pubsub, trace="b")["traces"]["shown"]
    assert "partial" not in line
    assert merged(firestore, pubsub, trace="z")["traces"]["shown"] == []


def test_a_trace_whose_other_half_may_have_been_cut_off_says_so(firestore: FirestoreUsage, pubsub: PubsubUsage) -> None:
    shown = merged(firestore, pubsub, limit=1)["traces"]["shown"]
    assert {line["trace"]: line["partial"] for line in shown} == {"b": ["pubsub"], "c": ["firestore"]}


def test_reports_with_different_prices_are_not_added(firestore: FirestoreUsage, pubsub: PubsubUsage) -> None:
    with pytest.raises(ValueError, match="different prices"):
        merge_usage(firestore.report(Question(location="nam5")), pubsub.report())
