from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.prices import FIRESTORE, PUBSUB_TIB, RUN_GIB_SECOND, RUN_REQUEST, firestore_prices, micro_usd, pico_usd


def test_single_operations_are_priced_without_a_rest() -> None:
    prices = FIRESTORE["us-central1"]
    each = [micro_usd(price.of(1)) for price in (prices.reads, prices.writes, prices.deletes)]
    assert each == ["0.300000", "0.900000", "0.100000"]
    assert micro_usd(FIRESTORE["nam5"].reads.of(100_000)) == "60000.000000"


def test_bytes_are_priced_to_the_picodollar() -> None:
    assert PUBSUB_TIB.of(2**40) == 40 * 10**12
    assert PUBSUB_TIB.of(1000) == round(1000 * 40e12 / 2**40)


def test_prices_read_as_on_the_price_list() -> None:
    assert [price.dollars for price in (FIRESTORE["us-central1"].reads, PUBSUB_TIB, RUN_REQUEST, RUN_GIB_SECOND)] == [
        "$0.03",
        "$40",
        "$0.40",
        "$0.0000025",
    ]


def test_a_location_without_prices_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'mars'; there are for us-central1, nam5"):
        firestore_prices("mars")


@given(st.integers(0, 10**18))
def test_money_as_text_loses_nothing(amount: int) -> None:
    assert pico_usd(micro_usd(amount)) == amount
